//! One caller whose files cost workers, and the others: who loses what.

use std::thread;
use std::time::Duration;

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, require_root, wait_until};

use crate::stage::{LARGE, Outcomes, Stage, fault};

const BAD: u32 = 2000;
const GOOD: u32 = 2001;

/// Files that end their workers, in the longest test.
const CRASHES: usize = 100;

/// A tree in which every file ends its worker.
fn crashing(stage: &Stage, tree: &str, count: usize) -> Outcomes {
    let outcomes = (0..count).map(|nth| {
        let name = nth.to_string();
        files::write(&stage.path(tree).join(&name), &fault("abort", 0));
        (name, "crashed the scanner (SIGABRT) ERROR".to_owned())
    });
    outcomes.collect()
}

#[test]
fn a_hundred_crashes_of_one_caller_change_no_verdict_of_another() {
    require_root!();
    let stage = Stage::new();
    let all = stage.neighbours("good", 2000);
    let bad = crashing(&stage, "bad", CRASHES);
    let mut crashes = stage.fdscan(BAD, "bad").spawn();
    wait_until("the first crashes", || (stage.workers_lost() > 2).then_some(()));
    let mut scans = 0;
    while crashes.ended_within(Duration::ZERO).is_none() {
        let output = stage.fdscan(GOOD, "good").output().expect_code(1);
        stage.assert_outcomes(&output, "good", &all);
        scans += 1;
    }
    let output = crashes.finish().expect_code(2);
    stage.assert_outcomes(&output, "bad", &bad);
    let lost = stage.workers_lost();
    println!("{lost} workers lost beside {scans} scans of 2,000 files");
    // Each file alone, and before that some batches.
    let crashes = u64::try_from(CRASHES).expect("a number");
    assert!((crashes..=2 * crashes).contains(&lost) && scans > 1, "{lost}, {scans}");
}

#[test]
fn only_who_loses_many_workers_is_penalised_and_that_ends() {
    require_root!();
    let stage = Stage::new();
    let few = crashing(&stage, "few", 3);
    let output = stage.fdscan(GOOD, "few").output().expect_code(2);
    stage.assert_outcomes(&output, "few", &few);
    let many = crashing(&stage, "many", 12);
    // Root is no exception.
    for uid in [BAD, 0] {
        let output = stage.fdscan(uid, "many").output().expect_code(2);
        stage.assert_outcomes(&output, "many", &many);
        assert!(stage.env.status().penalised_uids.contains(&uid), "{uid}");
    }
    assert!(!stage.env.status().penalised_uids.contains(&GOOD));
    let shown = stage.env.ctl(["status"]).expect_code(0);
    let is_shown = |line: &str| line.contains("uid 2000") && line.contains("penalised");
    assert!(shown.text().lines().any(is_shown), "{shown}");
    assert!(stage.env.log().contains("uid 2000 has lost many workers"), "{}", stage.env.log());
    // A penalised caller is served, by one worker.
    let all = stage.neighbours("t", 1000);
    let output = stage.fdscan(BAD, "t").output().expect_code(1);
    stage.assert_outcomes(&output, "t", &all);
    wait_until("it is forgotten", || stage.env.status().penalised_uids.is_empty().then_some(()));
}

#[test]
fn a_match_that_was_answered_before_the_crash_stays() {
    require_root!();
    // One worker has all three in one batch, in this order.
    let stage = Stage::started(Env::build().broker_arg("--workers").broker_arg("1"));
    let [first, crash, last] = ["first", "crash", "last"].map(|name| stage.path(name));
    files::write(&first, EICAR);
    files::write(&crash, &fault("segv", LARGE));
    files::write(&last, EICAR);
    let program = stage.env.fdscan_program(&Caller::user(BAD)).arg("--no-summary");
    let output = program.args([&first, &crash, &last]).output().expect_code(1);
    let text = output.text();
    let found = |path: &std::path::Path| {
        text.contains(&format!("{}: EICAR_Test_File FOUND\n", path.display()))
    };
    assert!(found(&first) && found(&last), "{output}");
    assert!(text.contains("crashed the scanner (SIGSEGV) ERROR"), "{output}");
    let place = |path: &std::path::Path| text.find(&path.display().to_string());
    assert!(place(&first) < place(&crash), "it was not scanned again: {output}");
}

#[test]
fn callers_that_crash_all_kinds_of_workers_at_once_leave_the_others_right() {
    require_root!();
    let stage = Stage::new();
    let all = stage.neighbours("good", 1000);
    for (nth, what) in ["segv", "exit-0", "garbage", "sleep", "later-job"].iter().enumerate() {
        for file in 0..3 {
            files::write(&stage.path(&format!("bad{nth}/{file}")), &fault(what, 0));
        }
    }
    thread::scope(|scope| {
        for nth in 0..5_u32 {
            let stage = &stage;
            scope.spawn(move || {
                let program = stage.fdscan(BAD + 10 + nth, &format!("bad{nth}"));
                let output = program.args(["--timeout", "1"]).output().expect_code(2);
                assert!(output.text().lines().all(|line| line.ends_with(" ERROR")), "{output}");
                assert_eq!(output.text().lines().count(), 3, "{output}");
            });
        }
        for _ in 0..3 {
            let output = stage.fdscan(GOOD, "good").output().expect_code(1);
            stage.assert_outcomes(&output, "good", &all);
        }
    });
}

#[test]
fn a_worker_that_announces_other_rules_is_believed_nothing() {
    require_root!();
    let rule = "rule Start { strings: $a = \"FDBROKER-FAULT-AT-START\" condition: $a at 0 }";
    let stage = Stage::started(Env::build().rule("start.yar", rule));
    let names: Vec<String> = stage.neighbours("t", 5).into_keys().collect();
    let output = stage.fdscan(BAD, "t").output().expect_code(2);
    let lies = |name| (name, "made the scanner misbehave ERROR".to_owned());
    stage.assert_outcomes(&output, "t", &names.into_iter().map(lies).collect());
}

#[test]
fn no_executable_that_is_released_can_misbehave_on_demand() {
    let mark = b"FDBROKER-FAULT";
    let holds = |name: &str| {
        let bytes = std::fs::read(fdbroker_tests::program::executable(name)).expect("readable");
        bytes.windows(mark.len()).any(|window| window == mark)
    };
    for name in ["fdscand", "fdbroker", "fdscan", "fdbrokerctl"] {
        assert!(!holds(name), "{name}");
    }
    assert!(holds(crate::stage::FAULTY), "the mark that is looked for is the right one");
}
