//! Workers that do not end though they are to be ended, as those do that hang in the kernel.
//!
//! Here it is their template that does not run and so does not end them: for the broker it is the same.

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, Running, proc, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, fault};

const BAD: u32 = 2000;
const GOOD: u32 = 2001;

/// A template that is stopped; it goes on when this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: u32) -> Self {
        let stopped = Self(Pid::from_raw(i32::try_from(pid).expect("a pid")));
        kill(stopped.0, Signal::SIGSTOP).expect("kill");
        wait_until("it is stopped", || {
            proc::status(pid).is_some_and(|status| status.state == 'T').then_some(())
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn a_caller_on_whose_files_workers_hang_is_refused_and_nobody_else() {
    require_root!();
    let stage = Stage::started(Env::build().broker_arg("--workers").broker_arg("5"));
    let sleep = stage.path("sleep");
    files::write(&sleep, &fault("sleep", 0));
    let found = stage.env.file("eicar", EICAR);
    let fdscan = |uid, path| stage.env.fdscan_program(&Caller::user(uid)).arg(path);
    let hanging: Vec<Running> =
        (0..4).map(|_| fdscan(BAD, &sleep).args(["--timeout", "1"]).spawn()).collect();
    wait_until("four workers are lent", || (stage.env.status().workers_lent == 4).then_some(()));
    let template = stage.env.named("fdscand-templat");
    let stopped = Stopped::stop(template[0]);

    // The others are served by the worker that stands ready, before and after.
    let mut other = stage.env.feed(&Caller::user(GOOD));
    other.scan(&found, "EICAR_Test_File FOUND");
    for running in hanging {
        let output = running.finish().expect_code(2);
        assert!(output.text().contains("not finished after 1 s ERROR"), "{output}");
        assert!(!output.text().contains(": OK"), "{output}");
    }
    assert_eq!(stage.env.status().workers_stuck, 4);
    let output = fdscan(BAD, &found).output().expect_code(2);
    assert!(output.errors().contains("hang on files of this user"), "{output}");
    other.scan(&stage.env.file("clean", b"nothing"), "OK");

    drop(stopped);
    wait_until("they end", || (stage.env.status().workers_stuck == 0).then_some(()));
    let output = fdscan(BAD, &found).output().expect_code(1);
    assert!(output.text().contains("EICAR_Test_File FOUND"), "{output}");
    assert_eq!(other.finish().code, Some(1));
}
