//! A client that goes away: nothing is done for it any more, whatever was going on.

use std::time::Duration;

use fdbroker_common::limits::FILE_DEADLINE_DEFAULT;
use fdbroker_tests::{Caller, Env, poll_until, proc, require_root, wait_until};
use nix::sys::signal::Signal;

/// A file on which this rule spends its time never ends before its deadline.
const ENDLESS: &str = "rule Endless { strings: $m = \"BUSYBUSY\" condition: $m at 0 and \
    for all i in (1..1152921504606846976) : (uint8(i % 8) != 0) and filesize > 1000000000000 }";

#[test]
fn the_file_in_work_of_a_client_that_has_gone_is_given_up_long_before_its_deadline() {
    require_root!();
    let env = Env::build().rule("endless.yar", ENDLESS).start_spawned();
    let busy = env.file("busy", b"BUSYBUSY, but harmless\n");
    for _ in 0..2 {
        let mut scan = env.fdscan_program(&Caller::user(2000)).arg(&busy).spawn();
        let has = |pid: &u32| proc::descriptors(*pid).iter().any(|(_, open)| *open == busy);
        let worker = wait_until("a worker has the file", || {
            env.named("fdscand-worker").into_iter().find(has)
        });
        scan.signal(Signal::SIGKILL);
        // Far less than the deadline, and far more than it takes.
        let bound = FILE_DEADLINE_DEFAULT / 4;
        assert!(bound > Duration::from_secs(20));
        let ended =
            poll_until("the worker ends", bound, || (!proc::is_alive(worker)).then_some(()));
        assert_eq!(ended, Ok(()));
        wait_until("the opener is free", || {
            let status = env.status();
            let idle = status.openers.iter().all(|opener| !opener.busy && opener.workers == 0);
            (status.workers_lent == 0 && idle).then_some(())
        });
    }
    // It was the same opener, and it serves on.
    assert_eq!(env.named("fdb-opener").len(), 1);
    assert_eq!(env.status().workers_lost, 0);
}
