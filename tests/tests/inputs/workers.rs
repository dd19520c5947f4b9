//! Workers that are killed in the middle of a scan: every file still has exactly one outcome, the
//! right one. No engine of ours crashes on demand, so the test is what kills.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fdbroker_tests::{PATIENCE, Running, proc, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::slow::{BUSY_MARK, busy_rule};
use crate::stage::{NEEDLE, Stage};

/// Workers of this broker.
pub fn workers(stage: &Stage) -> Vec<u32> {
    stage.env.named("fdscand-worker")
}

/// Waits until a worker has this file open, and tells which.
pub fn worker_with(stage: &Stage, file: &Path) -> u32 {
    wait_until("a worker has the file", || holder(stage, file))
}

fn holder(stage: &Stage, file: &Path) -> Option<u32> {
    let has = |pid: &u32| proc::descriptors(*pid).iter().any(|(_, path)| path == file);
    workers(stage).into_iter().find(has)
}

pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// A tree of which it is known what is in it, and one file that takes long.
fn tree(stage: &Stage, files: usize) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, contents: &[u8], outcome: &str| {
        let _ = stage.env.file(&name, contents);
        all.insert(name, outcome.to_owned());
    };
    add("t/busy".to_owned(), BUSY_MARK, "OK");
    for number in 0..files {
        match number % 40 {
            3 => add(format!("t/{number}"), NEEDLE, "Needle FOUND"),
            4 => add(format!("t/{number}"), b"", "OK"),
            _ => add(format!("t/{number}"), b"hay", "OK"),
        }
    }
    all
}

fn finish(stage: &Stage, running: Running) -> BTreeMap<String, String> {
    let output = running.finish_within(PATIENCE);
    assert_eq!(output.code, Some(1), "{output}");
    stage.outcomes(&output)
}

#[test]
fn a_worker_that_is_killed_once_changes_no_outcome() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(100_000_000))]);
    let all = tree(&stage, 500);
    for _ in 0..3 {
        let running = stage.fdscan().arg(stage.path("t")).spawn();
        let worker = worker_with(&stage, &stage.path("t/busy"));
        signal(worker, Signal::SIGKILL);
        assert_eq!(finish(&stage, running), all);
    }
    assert_eq!(stage.env.status().workers_lost, 3);
    stage.others_are_served();
}

#[test]
fn a_file_that_crashes_worker_after_worker_is_an_error_and_no_other_file() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(2_000_000_000))]);
    let mut all = tree(&stage, 500);
    all.insert("t/busy".to_owned(), "crashed the scanner (SIGABRT) ERROR".to_owned());
    let mut running = stage.fdscan().arg(stage.path("t")).spawn();
    let busy = stage.path("t/busy");
    let mut crashed = Vec::new();
    while running.ended_within(Duration::from_millis(20)).is_none() {
        let holder = holder(&stage, &busy);
        if let Some(worker) = holder.filter(|worker| !crashed.contains(worker)) {
            signal(worker, Signal::SIGABRT);
            crashed.push(worker);
        }
        assert!(crashed.len() < 20, "tried for ever");
    }
    // Once among others, once alone, and once more if others had been with that worker before.
    assert!((2..=3).contains(&crashed.len()), "{crashed:?}");
    assert_eq!(finish(&stage, running), all);
    stage.others_are_served();
}

#[test]
fn a_file_whose_workers_are_killed_again_and_again_is_given_up() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(2_000_000_000))]);
    let mut all = tree(&stage, 100);
    let mut running = stage.fdscan().arg(stage.path("t")).spawn();
    let busy = stage.path("t/busy");
    // As the kernel does when memory is short.
    let mut kills = 0;
    while running.ended_within(Duration::from_millis(20)).is_none() {
        if let Some(worker) = holder(&stage, &busy) {
            signal(worker, Signal::SIGKILL);
            kills += 1;
        }
        assert!(kills < 20, "tried for ever");
    }
    let found = finish(&stage, running);
    let outcome = found.get("t/busy").cloned().unwrap_or_default();
    assert!(outcome.ends_with("crashed the scanner (SIGKILL) ERROR"), "{outcome}");
    all.insert("t/busy".to_owned(), outcome);
    assert_eq!(found, all);
    stage.others_are_served();
}

#[test]
fn a_worker_killed_at_any_moment_changes_no_outcome() {
    require_root!();
    let stage = Stage::new();
    let mut all = tree(&stage, 4000);
    all.insert("t/large".to_owned(), "Needle FOUND".to_owned());
    let _ = stage.env.file("t/large", &[vec![b'.'; 8 << 20], NEEDLE.to_vec()].concat());
    for lines in [1, 200, 800, 1600, 2400, 3200] {
        let running = stage.fdscan().arg(stage.path("t")).spawn();
        // So much has been told; one worker at most is killed, so nothing can be blamed.
        wait_until("outcomes", || (running.text().lines().count() >= lines).then_some(()));
        if let Some(worker) = workers(&stage).first() {
            signal(*worker, Signal::SIGKILL);
        }
        assert_eq!(finish(&stage, running), all, "after {lines} lines");
    }
    stage.others_are_served();
}

#[test]
fn the_template_and_the_scanner_may_be_killed_too() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(100_000_000))]);
    let all = tree(&stage, 500);
    for name in ["fdscand-templat", "fdscand"] {
        let running = stage.fdscan().arg(stage.path("t")).spawn();
        let _ = worker_with(&stage, &stage.path("t/busy"));
        let pids = stage.env.named(name);
        let Some(pid) = pids.first() else {
            panic!(
                "no {name} in\n{}",
                proc::describe(
                    &stage.env.processes().iter().map(|entry| entry.pid).collect::<Vec<_>>()
                )
            );
        };
        signal(*pid, Signal::SIGKILL);
        assert_eq!(finish(&stage, running), all, "{name}\n{}", stage.env.log());
    }
    stage.others_are_served();
}
