//! Each way to misbehave, among neighbours and beside another caller.

use std::ops::RangeInclusive;

use fdbroker_tests::{files, require_root, wait_until};

use crate::stage::{LARGE, Stage, fault};

/// The two users.
const BAD: u32 = 2000;
const GOOD: u32 = 2001;

const LIES: &str = "made the scanner misbehave ERROR";

/// A way to misbehave.
struct Case {
    fault: &'static str,
    /// Size of the file; a large one is met with nothing left to answer.
    size: usize,
    /// What is said of it.
    outcome: &'static str,
    /// How many workers it may cost.
    lost: RangeInclusive<u64>,
}

const fn case(fault: &'static str, outcome: &'static str) -> Case {
    Case { fault, size: 0, outcome, lost: 1..=3 }
}

const fn large(fault: &'static str, outcome: &'static str) -> Case {
    Case { fault, size: LARGE, outcome, lost: 1..=3 }
}

/// It answers, and rightly, before it misbehaves: its caller may have returned it meanwhile.
const fn answered(fault: &'static str) -> Case {
    Case { fault, size: LARGE, outcome: "OK", lost: 0..=3 }
}

/// Each among 150 neighbours of its own, all at once with another caller's tree.
fn each_costs_its_file_alone(cases: &[Case]) {
    let stage = Stage::new();
    let theirs = stage.neighbours("other", 400);
    for (nth, case) in cases.iter().enumerate() {
        let tree = format!("t{nth}");
        let mut all = stage.neighbours(&tree, 150);
        files::write(&stage.path(&tree).join("0077x"), &fault(case.fault, case.size));
        all.insert("0077x".to_owned(), case.outcome.to_owned());
        let before = stage.workers_lost();
        let bad = stage.fdscan(BAD, &tree).args(["--timeout", "1"]).spawn();
        let good = stage.fdscan(GOOD, "other").output();
        let output = bad.finish();
        // The last one may be counted a moment after its caller has its outcome.
        let lost = wait_until("the loss", || {
            let lost = stage.workers_lost() - before;
            (lost >= *case.lost.start()).then_some(lost)
        });
        println!("{}, {} bytes: {lost} workers lost", case.fault, case.size);
        stage.assert_outcomes(&good, "other", &theirs);
        stage.assert_outcomes(&output, &tree, &all);
        assert_eq!(output.code, Some(1), "{output}");
        assert!(case.lost.contains(&lost), "{} cost {lost} workers", case.fault);
    }
}

#[test]
fn a_crash_costs_the_file_that_caused_it() {
    require_root!();
    each_costs_its_file_alone(&[
        case("segv", "crashed the scanner (SIGSEGV) ERROR"),
        case("ill", "crashed the scanner (SIGILL) ERROR"),
        case("abort", "crashed the scanner (SIGABRT) ERROR"),
        case("panic", "crashed the scanner (SIGABRT) ERROR"),
        case("stack", "crashed the scanner (SIGSEGV) ERROR"),
        large("segv", "crashed the scanner (SIGSEGV) ERROR"),
    ]);
}

#[test]
fn a_worker_that_exits_costs_the_file_that_made_it_exit() {
    require_root!();
    each_costs_its_file_alone(&[
        case("exit-0", "crashed the scanner ERROR"),
        case("exit-1", "crashed the scanner ERROR"),
        large("exit-0", "crashed the scanner ERROR"),
        case("half-an-answer", LIES),
        large("half-an-answer", LIES),
        answered("answer-and-exit"),
    ]);
}

#[test]
fn a_worker_that_hangs_costs_the_file_that_it_hangs_on() {
    require_root!();
    each_costs_its_file_alone(&[
        case("loop", "not finished after 1 s ERROR"),
        case("sleep", "not finished after 1 s ERROR"),
    ]);
}

#[test]
fn a_worker_that_lies_is_not_believed() {
    require_root!();
    each_costs_its_file_alone(&[
        case("unknown-job", LIES),
        case("later-job", LIES),
        large("later-job", LIES),
        case("ready-again", LIES),
        case("no-such-rule", LIES),
        case("garbage", LIES),
        case("oversized", LIES),
        // We end it then.
        case("close", "crashed the scanner (SIGKILL) ERROR"),
        // What it says of the file in its hand first is as good as any other word of its.
        answered("twice"),
        answered("flood"),
    ]);
}

#[test]
fn a_worker_that_asks_for_more_than_it_may_is_killed() {
    require_root!();
    each_costs_its_file_alone(&[
        case("open", "crashed the scanner (SIGSYS) ERROR"),
        case("descriptors", "crashed the scanner (SIGSYS) ERROR"),
        case("limit", "crashed the scanner (SIGSYS) ERROR"),
    ]);
}
