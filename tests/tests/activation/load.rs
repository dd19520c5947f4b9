//! Restarts of broker and scanner while users ask without a pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker_common::limits::SCANNER_WAIT;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Output, require_root};
use nix::sys::signal::Signal;

use crate::Activated;

/// How often each is restarted.
const RESTARTS: usize = 6;

/// What is wrong with a scan of both files, if anything.
fn fault(output: Output) -> Option<String> {
    let text = output.text();
    let right = output.code == Some(1)
        && text.contains("/clean: OK\n")
        && text.contains("/eicar: EICAR_Test_File FOUND\n")
        && text.contains("\nFiles:      2\n");
    (!right).then(|| output.to_string())
}

#[test]
fn a_restart_of_broker_or_scanner_under_load_fails_no_request() {
    require_root!();
    let mut this = Activated::idle();
    let files = [this.env.file("clean", b"nothing"), this.env.file("eicar", EICAR)];
    this.start();
    this.env.start_scanner();
    this.env.broker().wait_for("serving");
    let runtime = this.env.runtime().to_path_buf();
    let stop = AtomicBool::new(false);
    let ask = |caller: Caller| {
        let mut faults = Vec::new();
        let mut count = 0_usize;
        while !stop.load(Ordering::Relaxed) {
            let fdscan = fdbroker_tests::Program::new("fdscan").caller(&caller);
            let output = fdscan.arg("--runtime-dir").arg(&runtime).args(&files).output();
            faults.extend(fault(output));
            count += 1;
        }
        (count, faults)
    };
    thread::scope(|scope| {
        let callers = [Caller::root(), Caller::user(2000), Caller::user(2001)];
        let askers: Vec<_> =
            callers.into_iter().map(|caller| scope.spawn(|| ask(caller))).collect();
        // Even if this fails, or they would ask for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stopping = Stop(&stop);
        let mut longest = Duration::ZERO;
        for nth in 0..RESTARTS {
            this.restart();
            this.env.broker().wait_for("serving");
            let mut scanner = this.env.take_scanner();
            let since = Instant::now();
            // As a service manager, and as a crash.
            scanner.signal(if nth % 2 == 0 { Signal::SIGTERM } else { Signal::SIGKILL });
            let _ = scanner.take_output();
            this.env.start_scanner();
            this.env.broker().wait_for_times("scanner ready", 2);
            longest = longest.max(since.elapsed());
        }
        drop(stopping);
        // Of a machine that is so slow, users are told that there is no scanner, and nothing else.
        let too_long = longest + Duration::from_secs(1) >= SCANNER_WAIT;
        for asker in askers {
            let (count, mut faults) = asker.join().expect("an asker");
            faults.retain(|fault| !(too_long && fault.contains("no scanner")));
            assert!(count > 0 && faults.is_empty(), "{} of {count}: {faults:#?}", faults.len());
        }
    });
}
