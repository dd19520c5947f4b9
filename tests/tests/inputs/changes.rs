//! Files that change while they are read: `unstable`, or a verdict that is right; never a wrong OK.
//!
//! The worker is stopped by a signal while the file changes, so the moment is certain.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use fdbroker_tests::{Running, proc, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::slow::{BUSY_MARK, busy_rule};
use crate::stage::{NEEDLE, Stage, expected};
use crate::workers::{signal, worker_with, workers};

const CHANGED: &str = "changed during the scan UNSTABLE";

/// Long enough for a test to stop the worker meanwhile.
const STEPS: u64 = 100_000_000;

/// Waits until the worker has read this many bytes, then stops it.
fn stop_after_reading(worker: u32, bytes: u64) {
    wait_until("the file has been read", || {
        let counts = fs::read_to_string(format!("/proc/{worker}/io")).unwrap_or_default();
        let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "))?;
        (read.parse::<u64>().unwrap() >= bytes).then_some(())
    });
    stop(worker);
}

fn stop(pid: u32) {
    signal(pid, Signal::SIGSTOP);
    wait_until("it has stopped", || (proc::status(pid)?.state == 'T').then_some(()));
}

/// Stops all workers. Those of an earlier scan may be about to end, and others about to come.
fn stop_all(stage: &Stage) -> Vec<u32> {
    let is_stopped = |pid: &u32| proc::status(*pid).is_some_and(|status| status.state == 'T');
    wait_until("all workers have stopped", || {
        let status = stage.env.status();
        let all: Vec<u32> =
            workers(stage).into_iter().filter(|worker| proc::is_alive(*worker)).collect();
        for worker in all.iter().filter(|worker| !is_stopped(worker)) {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(i32::try_from(*worker).unwrap()), Signal::SIGSTOP);
        }
        let idle = status.workers_lent == 0 && status.workers_max as usize == all.len();
        (idle && all.iter().all(is_stopped)).then_some(all)
    })
}

/// Scans a file that keeps the engine busy and changes it after it was read and before the engine
/// has come to its verdict.
#[track_caller]
fn changed_while_judged(stage: &Stage, contents: &[u8], change: impl FnOnce(&Path)) -> String {
    let file = stage.env.file("t/file", contents);
    let running = stage.fdscan().arg(&file).spawn();
    let worker = worker_with(stage, &file);
    stop_after_reading(worker, contents.len() as u64);
    change(&file);
    signal(worker, Signal::SIGCONT);
    outcome(stage, running)
}

#[track_caller]
fn outcome(stage: &Stage, running: Running) -> String {
    let output = running.finish();
    let mut outcomes = stage.outcomes(&output);
    assert_eq!(outcomes.len(), 1, "{output}");
    let outcome = outcomes.remove("t/file").unwrap_or_default();
    let code = if outcome.ends_with("FOUND") { 1 } else { 2 * i32::from(outcome != "OK") };
    assert_eq!(output.code, Some(code), "{output}");
    outcome
}

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(NEEDLE).unwrap();
}

fn rewrite(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"BUSYBUSY", 0).unwrap();
}

#[test]
fn whatever_is_done_to_a_file_that_is_being_judged_is_noticed() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(STEPS))]);
    let check = |what: &str, expected: &str, change: &dyn Fn(&Path)| {
        assert_eq!(changed_while_judged(&stage, BUSY_MARK, change), expected, "{what}");
    };
    check("grown", CHANGED, &append);
    check("shrunk", CHANGED, &|path| {
        OpenOptions::new().write(true).open(path).unwrap().set_len(3).unwrap();
    });
    check("rewritten with the same bytes", CHANGED, &rewrite);
    check("replaced by rename", CHANGED, &|path| {
        let new = path.with_extension("new");
        fs::write(&new, NEEDLE).unwrap();
        fs::rename(new, path).unwrap();
    });
    check("removed", CHANGED, &|path| fs::remove_file(path).unwrap());
    check("rewritten, and its time set back", CHANGED, &|path| {
        let before: SystemTime = path.metadata().unwrap().modified().unwrap();
        rewrite(path);
        OpenOptions::new().write(true).open(path).unwrap().set_modified(before).unwrap();
    });
    // Reading is no change, not even of the time of access.
    check("read by somebody", "OK", &|path| {
        assert_eq!(fs::read(path).unwrap(), BUSY_MARK);
    });
    stage.nobody_noticed();
}

#[test]
fn a_match_stays_one_when_the_file_changes() {
    require_root!();
    let stage = Stage::with(&[("busy.yar", &busy_rule(STEPS))]);
    let contents = [BUSY_MARK, NEEDLE].concat();
    let outcome = changed_while_judged(&stage, &contents, |path| fs::write(path, b"hay").unwrap());
    assert_eq!(outcome, "Needle FOUND");
}

#[test]
fn a_file_that_changes_between_opener_and_worker_is_not_judged() {
    require_root!();
    let stage = Stage::new();
    for (what, change) in [
        ("grown", &append as &dyn Fn(&Path)),
        ("shrunk", &|path| File::create(path).unwrap().set_len(0).unwrap()),
        ("cleaned", &|path| fs::write(path, b"hay").unwrap()),
    ] {
        let file = stage.env.file("t/file", NEEDLE);
        let stopped = stop_all(&stage);
        let running = stage.fdscan().arg(&file).spawn();
        wait_until("the opener has the file", || {
            // And has noted what it was like.
            let has = |pid| proc::sleeps_with_open(pid, &file);
            stage.env.processes().iter().any(|entry| has(entry.pid)).then_some(())
        });
        change(&file);
        stopped.iter().for_each(|worker| signal(*worker, Signal::SIGCONT));
        assert_eq!(outcome(&stage, running), CHANGED, "{what}");
    }
    stage.nobody_noticed();
}

#[test]
fn a_large_file_that_changes_all_the_time_is_never_clean() {
    require_root!();
    let stage = Stage::new();
    let file = stage.env.file("t/file", b"");
    let writer = OpenOptions::new().write(true).open(&file).unwrap();
    writer.set_len(300 << 20).unwrap();
    let neighbour = stage.env.file("t/found", NEEDLE);
    let running = stage.fdscan().arg(&file).arg(&neighbour).spawn();
    let worker = worker_with(&stage, &file);
    // As long as the worker has it open, so before, while and after it is read.
    let mut changes = 0_u64;
    while proc::descriptors(worker).iter().any(|(_, path)| *path == file) {
        writer.write_all_at(b"x", changes % (300 << 20)).unwrap();
        changes += 4096;
    }
    let output = running.finish().expect_code(1);
    let all = expected(&[("t/file", CHANGED), ("t/found", "Needle FOUND")]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
    assert!(changes > 0);
    stage.nobody_noticed();
}

#[test]
fn a_file_that_is_replaced_before_it_is_opened_is_judged_as_it_is_then() {
    let stage = Stage::new();
    let file = stage.env.file("t/file", b"hay");
    // An open descriptor designates the file, whatever becomes of its name.
    let opened = File::open(&file).unwrap();
    fs::write(stage.path("t/new"), NEEDLE).unwrap();
    fs::rename(stage.path("t/new"), &file).unwrap();
    let output = stage.fdscan().arg("-").stdin(opened).output().expect_code(0);
    assert_eq!(output.text(), "-: OK\n");
    assert_eq!(
        stage.scan([&file]).expect_code(1).text(),
        format!("{}: Needle FOUND\n", file.display())
    );
}
