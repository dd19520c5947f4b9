//! Whoever serves a scan goes away in the middle of it: the scan is not whole, and says so.

use std::time::Duration;

use fdbroker_tests::env::empty_group;
use fdbroker_tests::{Program, Running, proc, require_root, wait_until};
use nix::sys::signal::Signal;

use crate::slow::{BUSY_MARK, busy_rule};
use crate::stage::{Stage, only_complaint};
use crate::workers::{signal, worker_with};

/// A broker with a tree of harmless files, one of which keeps a worker busy for some seconds.
fn stage() -> Stage {
    let stage = Stage::with(&[("busy.yar", &busy_rule(1_000_000_000))]);
    let _ = stage.env.file("t/busy", BUSY_MARK);
    for number in 0..200 {
        let _ = stage.env.file(&format!("t/{number}"), b"hay");
    }
    stage
}

/// Not clean, one line why, and no summary that could be taken for one of a whole scan.
#[track_caller]
fn was_cut_short(scan: Running, reason: &str) {
    let output = scan.finish_within(Duration::from_secs(30)).expect_code(2);
    assert!(!output.text().contains("Clean:"), "{output}");
    assert!(!output.text().contains("busy: OK"), "{output}");
    let complaint = only_complaint(&output);
    assert!(complaint.starts_with("fdscan: ") && complaint.contains(reason), "{output}");
}

const CLOSED: &str = "closed the connection before the scan was finished";

#[test]
fn an_opener_that_is_killed() {
    require_root!();
    let stage = stage();
    let scan = stage.env.fdscan_program(&stage.caller).arg(stage.path("t")).spawn();
    let _ = worker_with(&stage, &stage.path("t/busy"));
    let openers = stage.env.named("fdb-opener");
    assert_eq!(openers.len(), 1);
    signal(openers[0], Signal::SIGKILL);
    was_cut_short(scan, CLOSED);
    stage.others_are_served();
}

#[test]
fn a_broker_that_is_killed() {
    require_root!();
    let mut stage = stage();
    let scan = stage.env.fdscan_program(&stage.caller).arg(stage.path("t")).spawn();
    let _ = worker_with(&stage, &stage.path("t/busy"));
    let mut broker = stage.env.take_broker();
    let group = broker.pid();
    broker.signal(Signal::SIGKILL);
    was_cut_short(scan, CLOSED);
    assert!(!broker.finish().errors().contains("panicked"));
    empty_group(group).unwrap();
}

#[test]
fn a_broker_that_is_stopped_orderly() {
    require_root!();
    let mut stage = stage();
    let scan = stage.env.fdscan_program(&stage.caller).arg(stage.path("t")).spawn();
    let _ = worker_with(&stage, &stage.path("t/busy"));
    let mut broker = stage.env.take_broker();
    let group = broker.pid();
    broker.signal(Signal::SIGTERM);
    was_cut_short(scan, "");
    let _ = broker.finish().expect_code(0);
    empty_group(group).unwrap();
}

#[test]
fn a_private_broker_that_is_killed() {
    let stage = stage();
    let fdscan = Program::at(&stage.env.install().join("fdscan")).caller(&stage.caller);
    let scan = fdscan.arg("--rules").arg(stage.env.rules().unwrap()).arg(stage.path("t")).spawn();
    // The first outcomes come before the one that takes long.
    scan.wait_for_output(": OK");
    let group = scan.pid();
    let broker = wait_until("its broker", || {
        let children = proc::descendants(group);
        proc::named(&children, "fdbroker").first().copied()
    });
    signal(broker, Signal::SIGKILL);
    was_cut_short(scan, "");
    empty_group(group).unwrap();
}
