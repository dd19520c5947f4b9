//! Resident memory of what runs all the time, and the scanner's share of memory beside that of `yr`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use fdbroker_tests::{Env, proc};

use super::Row;
use crate::Settings;
use crate::measure::Measured;
use crate::peers::Peer;
use crate::stage::Stage;

const EACH_MAX_KIB: u64 = 8 * 1024;
const LOOK: Duration = Duration::from_millis(10);

/// The most that any process of this name has now.
pub fn rss_kib(env: &Env, name: &str) -> u64 {
    statuses(env, name, |status| status.rss_kib)
}

/// The most that any process of this name has had.
pub fn peak_kib(env: &Env, name: &str) -> u64 {
    statuses(env, name, |status| status.peak_kib)
}

fn statuses(env: &Env, name: &str, value: fn(&proc::Status) -> u64) -> u64 {
    let statuses = env.named(name).into_iter().filter_map(proc::status);
    statuses.map(|status| value(&status)).max().unwrap_or(0)
}

/// All rows about memory.
pub fn all(stage: &Stage, _: &Settings) -> Vec<Row> {
    let mut command = stage.fdscan(stage.many());
    let status = command.arg("-i").arg(stage.tree()).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| matches!(status.code(), Some(0 | 1))));
    let resident = |name| Ok(Measured::memory(peak_kib(stage.many(), name), EACH_MAX_KIB));
    vec![
        Row::new("resident memory of the broker, at most", "8 MiB", 1.0, resident("fdbroker")),
        Row::new(
            "resident memory of the dispatcher, at most",
            "8 MiB",
            None,
            resident("fdb-dispatcher"),
        ),
        Row::new("resident memory of an opener, at most", "8 MiB", 1.0, resident("fdb-opener")),
        Row::new(
            "PSS of the scanner, 2 workers, 1,200 rules, at most",
            "one `yr` process, the same rules",
            1.3,
            proportional(stage),
        ),
    ]
}

/// The most that each has while it scans the tree.
fn proportional(stage: &Stage) -> Result<Measured, String> {
    let yr = Peer::Yr.find()?;
    let scanner = || -> u64 {
        let processes = stage.many().processes().into_iter().map(|entry| entry.pid);
        let scanner = processes.filter(|pid| is_scanner(*pid));
        scanner.filter_map(pss_kib).sum()
    };
    let mut ours = stage.fdscan(stage.many());
    ours.arg("-i").arg(stage.tree());
    let ours = most(ours, |_| scanner());
    let mut theirs = stage.yr_many(&yr)?;
    theirs.arg(stage.tree());
    let theirs = most(theirs, |pid| pss_kib(pid).unwrap_or(0));
    Ok(Measured::memory(ours, theirs))
}

fn is_scanner(pid: u32) -> bool {
    proc::status(pid).is_some_and(|status| status.name.starts_with("fdscand"))
}

fn most(mut command: Command, look: impl Fn(u32) -> u64) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
    let mut most = 0;
    while child.try_wait().expect("wait").is_none() {
        most = most.max(look(child.id()));
        std::thread::sleep(LOOK);
    }
    most
}

fn pss_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}
