//! How much slower a caller is while another one crashes worker after worker.
//!
//! It measures, so it is not part of `make test`: `make fairness` prints the ratio. Runs alternate,
//! so that what else the machine does strikes both.

use std::time::{Duration, Instant};

use fdbroker_tests::files;
use fdbroker_tests::{Caller, require_root, wait_until};
use nix::sys::signal::Signal;

use crate::stage::{Stage, fault};

const BAD: u32 = 2000;
const GOOD: u32 = 2001;
const ROUNDS: usize = 9;
const SCANS: u32 = 5;
const FILES: usize = 5_000;

/// Time of some scans of a tree in which nothing is found.
fn measure(stage: &Stage) -> Duration {
    let begun = Instant::now();
    for _ in 0..SCANS {
        let tree = stage.path("good");
        let output = stage.env.fdscan(&Caller::user(GOOD), ["-i".as_ref(), tree.as_path()]);
        let clean = output.line("Clean:");
        assert_eq!(clean, Some(format!("Clean:      {FILES}")), "{output}");
    }
    begun.elapsed() / SCANS
}

#[test]
#[ignore = "measures; see make fairness"]
fn speed_beside_a_caller_that_crashes_workers() {
    require_root!();
    let stage = Stage::new();
    files::many(&stage.path("good"), FILES, &[b'x'; 6 * 1024]);
    for nth in 0..1000 {
        files::write(&stage.path("bad").join(nth.to_string()), &fault("abort", 0));
    }
    let _ = measure(&stage);
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let alone = measure(&stage);
        let before = stage.workers_lost();
        let mut crashes = stage.fdscan(BAD, "bad").spawn();
        wait_until("it is penalised", || (stage.workers_lost() >= before + 12).then_some(()));
        let from = stage.workers_lost();
        let beside = measure(&stage);
        let lost = stage.workers_lost() - from;
        crashes.signal(Signal::SIGKILL);
        assert!(crashes.ended_within(fdbroker_tests::PATIENCE).is_some());
        let ratio = alone.as_secs_f64() / beside.as_secs_f64();
        println!("{round}: {alone:?} alone, {beside:?} beside {lost} crashes: speed {ratio:.2}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    println!("speed beside crashes, of that alone: {median:.2} ({least:.2} to {most:.2})");
}
