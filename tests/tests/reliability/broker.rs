//! The broker and its dispatcher, with and without somebody who starts the broker again.

use std::time::Duration;

use fdbroker_tests::env::empty_group;
use fdbroker_tests::{Caller, require_root};
use nix::sys::signal::Signal;

use crate::stage::{Stage, kill_one};

const WENT: &str = "fdscan: the broker went away; waiting for it to come back\n";

/// Ends the broker in the middle of two scans, and starts it again: the scans go on and end right.
fn is_waited_for(end: impl FnOnce(&mut Stage)) {
    let mut stage = Stage::spawned();
    let scans = [2000, 2001].map(|uid| stage.begin(uid));
    end(&mut stage);
    let mut broker = stage.env.take_broker();
    assert!(broker.ended_within(Duration::from_secs(20)).is_some());
    empty_group(broker.pid()).expect("everything that it started ends with it");
    stage.env.start_broker();
    for scan in scans {
        let output = stage.ends_right(scan);
        assert_eq!(output.errors(), [WENT, "fdscan: resumed\n"].concat());
    }
    let _ = stage.ends_right(stage.begin(2003));
    let _ = stage.at_rest();
}

#[test]
fn a_killed_broker_that_is_started_again_changes_no_outcome() {
    require_root!();
    is_waited_for(|stage| {
        let mut broker = stage.env.take_broker();
        broker.signal(Signal::SIGKILL);
        stage.env.put_back(broker);
    });
}

#[test]
fn a_broker_that_is_stopped_and_started_again_changes_no_outcome() {
    require_root!();
    is_waited_for(|stage| {
        let mut broker = stage.env.take_broker();
        broker.signal(Signal::SIGTERM);
        stage.env.put_back(broker);
    });
}

#[test]
fn a_killed_dispatcher_costs_the_broker_and_no_outcome() {
    require_root!();
    is_waited_for(|stage| assert!(kill_one(&stage.env, "fdb-dispatcher")));
}

#[test]
fn a_broker_that_does_not_come_back_is_an_error_within_the_bound() {
    require_root!();
    let mut stage = Stage::spawned();
    let fdscan = stage.env.fdscan_program(&Caller::user(2000)).args(["--timeout", "2"]);
    let scan = fdscan.arg(&stage.tree).spawn();
    scan.wait_for_output(": OK\n");
    let mut broker = stage.env.take_broker();
    broker.signal(Signal::SIGKILL);
    assert!(broker.ended_within(Duration::from_secs(20)).is_some());
    let output = scan.finish_within(Duration::from_secs(20));
    assert!(matches!(output.code, Some(1 | 2)), "{output}");
    assert!(!output.text().contains("Clean:"), "{output}");
    let reason = "fdscan: the broker closed the connection before the scan was finished\n";
    assert_eq!(output.errors(), [WENT, reason].concat());
    empty_group(broker.pid()).expect("nothing is left");
}
