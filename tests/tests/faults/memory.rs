//! A worker that takes memory without end is ended by its limit.
//!
//! The limit is that of the seal. For the test it is lowered from outside, as an administrator might, so
//! that no machine has to find gigabytes.

use fdbroker_tests::{Env, files, proc, require_root, wait_until};

use crate::stage::{Stage, fault};

/// Enough for the rules and the engine.
const BOUND: u64 = 512 << 20;

fn data_limit(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max data size"))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

#[test]
fn a_worker_that_eats_memory_without_end_is_ended_by_its_limit() {
    require_root!();
    let stage = Stage::started(Env::build().scanner_data_max(BOUND));
    let mut all = stage.neighbours("t", 150);
    files::write(&stage.path("t/0077x"), &fault("memory", 0));
    all.insert("0077x".to_owned(), "crashed the scanner (SIGABRT) ERROR".to_owned());
    let before = stage.workers_lost();
    let output = stage.fdscan(2000, "t").output().expect_code(1);
    stage.assert_outcomes(&output, "t", &all);
    let lost = stage.workers_lost() - before;
    assert!((2..=3).contains(&lost), "it cost {lost} workers");
}

#[test]
fn every_worker_has_a_limit_that_allows_the_largest_file_and_not_much_more() {
    require_root!();
    const GIB: u64 = 1 << 30;
    let stage = Stage::new();
    let worker = wait_until("a worker that is ready", || {
        let workers = stage.env.named("fdscand-worker");
        workers.into_iter().find(|pid| proc::status(*pid).is_some_and(|about| about.seccomp == 2))
    });
    let limit = wait_until("its limit", || data_limit(worker).filter(|limit| *limit < u64::MAX));
    assert!((2 * GIB..=4 * GIB).contains(&limit), "{limit}");
}
