//! Whoever serves a scan goes away in the middle of it: the scan goes on with the next one, or is not
//! whole and says so.

use std::time::Duration;

use fdbroker_tests::env::empty_group;
use fdbroker_tests::{Program, Running, proc, require_root, wait_until};
use nix::sys::signal::Signal;

use crate::slow::{BUSY_MARK, busy_rule};
use crate::stage::{Stage, outcomes};
use crate::workers::{signal, worker_with};

/// A broker with a tree of harmless files, one of which keeps a worker busy for some seconds.
fn stage() -> Stage {
    let stage = Stage::with(&[("busy.yar", &busy_rule(200_000_000))]);
    let _ = stage.env.file("t/busy", BUSY_MARK);
    for number in 0..200 {
        let _ = stage.env.file(&format!("t/{number}"), b"hay");
    }
    stage
}

/// Long enough for anybody who comes back at once, and for any file here.
const PATIENCE: [&str; 2] = ["--timeout", "15"];

fn scan(stage: &Stage, patience: [&str; 2]) -> Running {
    let program = stage.env.fdscan_program(&stage.caller).args(patience);
    program.arg(stage.path("t")).spawn()
}

/// Not clean, one line why, and no summary that could be taken for one of a whole scan.
#[track_caller]
fn was_cut_short(scan: Running, reason: &str) {
    let output = scan.finish_within(Duration::from_secs(30)).expect_code(2);
    assert!(!output.text().contains("Clean:"), "{output}");
    assert!(!output.text().contains("busy: OK"), "{output}");
    let errors = output.errors();
    let complaint = errors.lines().last().unwrap_or_default();
    assert!(complaint.starts_with("fdscan: ") && complaint.contains(reason), "{output}");
}

/// Every file told once, as it is, and whoever waited for was told twice of.
#[track_caller]
fn went_on(stage: &Stage, scan: Running) {
    let output = scan.finish_within(Duration::from_secs(60)).expect_code(0);
    let (lines, summary) = output.text().split_once("\n\n").map(own).expect("a summary");
    let found = outcomes(&lines, &stage.path("t"));
    assert_eq!(found.len(), 201, "{output}");
    assert!(found.values().all(|outcome| outcome == "OK"), "{output}");
    assert!(summary.contains("Files:      201\nClean:      201\n"), "{output}");
    assert_eq!(output.errors(), [WENT, "fdscan: resumed\n"].concat());
}

fn own((lines, summary): (&str, &str)) -> (String, String) {
    (lines.to_owned(), summary.to_owned())
}

const WENT: &str = "fdscan: the broker went away; waiting for it to come back\n";
const CLOSED: &str = "closed the connection before the scan was finished";

#[test]
fn an_opener_that_is_killed() {
    require_root!();
    let stage = stage();
    let scan = scan(&stage, PATIENCE);
    let _ = worker_with(&stage, &stage.path("t/busy"));
    let openers = stage.env.named("fdb-opener");
    assert_eq!(openers.len(), 1);
    signal(openers[0], Signal::SIGKILL);
    went_on(&stage, scan);
    stage.others_are_served();
}

#[test]
fn a_broker_that_is_killed() {
    require_root!();
    let mut stage = stage();
    let scan = scan(&stage, ["--timeout", "3"]);
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
    let scan = scan(&stage, ["--timeout", "3"]);
    let _ = worker_with(&stage, &stage.path("t/busy"));
    let mut broker = stage.env.take_broker();
    let group = broker.pid();
    broker.signal(Signal::SIGTERM);
    was_cut_short(scan, "");
    let _ = broker.finish().expect_code(0);
    empty_group(group).unwrap();
}

/// The private broker of an fdscan; not the one that is known.
fn private_broker(scan: &Running, known: Option<u32>) -> u32 {
    wait_until("its broker", || {
        let brokers = proc::named(&proc::descendants(scan.pid()), "fdbroker");
        brokers.into_iter().find(|pid| Some(*pid) != known && proc::is_alive(*pid))
    })
}

#[test]
fn a_private_broker_that_is_killed_is_replaced_once() {
    let stage = stage();
    let bin = stage.env.install();
    let start = || {
        let fdscan = Program::at(&bin.join("fdscan")).caller(&stage.caller);
        let scan = fdscan.arg("--rules").arg(stage.env.rules().unwrap());
        let scan = scan.arg(stage.path("t")).spawn();
        // The first outcomes come before the one that takes long.
        scan.wait_for_output(": OK");
        scan
    };
    let scan = start();
    let group = scan.pid();
    signal(private_broker(&scan, None), Signal::SIGKILL);
    went_on(&stage, scan);
    empty_group(group).unwrap();

    let scan = start();
    let group = scan.pid();
    let first = private_broker(&scan, None);
    signal(first, Signal::SIGKILL);
    scan.wait_for("fdscan: resumed");
    signal(private_broker(&scan, Some(first)), Signal::SIGKILL);
    was_cut_short(scan, "the private broker was ended by signal 9");
    empty_group(group).unwrap();
}
