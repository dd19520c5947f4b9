//! Scanner and openers.

use std::time::Duration;

use fdbroker_tests::env::empty_group;
use fdbroker_tests::{require_root, wait_until};
use nix::sys::signal::Signal;

use crate::stage::{Stage, kill_one};

/// Two users scan; meanwhile processes of this name are killed. All outcomes are right, and then
/// everything is as before.
fn changes_no_outcome(stage: &Stage, name: &str, kills: usize) {
    let before = stage.at_rest();
    let scans = [2000, 2001].map(|uid| stage.begin(uid));
    for _ in 0..kills {
        wait_until("one to kill", || kill_one(&stage.env, name).then_some(()));
        // Not to have all of them killed in the same moment.
        std::thread::sleep(Duration::from_millis(40));
    }
    for scan in scans {
        let _ = stage.ends_right(scan);
    }
    stage.settles_at(before);
}

#[test]
fn killed_templates_change_no_outcome() {
    require_root!();
    changes_no_outcome(&Stage::spawned(), "fdscand-templat", 2);
}

#[test]
fn killed_supervisors_change_no_outcome() {
    require_root!();
    changes_no_outcome(&Stage::spawned(), "fdscand", 1);
}

#[test]
fn killed_openers_change_no_outcome() {
    require_root!();
    changes_no_outcome(&Stage::spawned(), "fdb-opener", 5);
}

#[test]
fn a_supervisor_that_was_started_by_hand_is_waited_for() {
    require_root!();
    let mut stage = Stage::separate();
    let mut scans = [2000, 2001].map(|uid| stage.begin(uid));
    let mut scanner = stage.env.take_scanner();
    scanner.signal(Signal::SIGKILL);
    assert!(scanner.ended_within(Duration::from_secs(20)).is_some());
    empty_group(scanner.pid()).expect("its template and workers end with it");
    // The first may have had all that it asked for before the second had anything.
    scans.iter_mut().for_each(|scan| stage.go_on(scan));
    // Longer than a request waits in the broker: the client waits on.
    for scan in &scans {
        scan.running().wait_for("fdscan: the scanner went away");
    }
    stage.env.start_scanner();
    for scan in scans {
        let _ = stage.ends_right(scan);
    }
}

#[test]
fn killed_clients_leave_nothing_behind() {
    require_root!();
    let stage = Stage::spawned();
    let before = stage.at_rest();
    for _ in 0..3 {
        let scans = [2000, 2001, 2002].map(|uid| stage.begin(uid));
        for scan in scans {
            let _ = scan.end_by(Signal::SIGKILL);
        }
    }
    let _ = stage.ends_right(stage.begin(2000));
    stage.settles_at(before);
}
