//! What /proc tells about processes.
//!
//! Reads only. A process that ends meanwhile is simply not there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Identity and confinement, from `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Name of the main thread.
    pub name: String,
    /// `R`, `S`, `Z`…
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Real, effective, saved and file system user.
    pub uids: Vec<u32>,
    /// Real, effective, saved and file system group.
    pub gids: Vec<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Inheritable capabilities.
    pub cap_inh: u64,
    /// Permitted capabilities.
    pub cap_prm: u64,
    /// Effective capabilities.
    pub cap_eff: u64,
    /// Bounding set.
    pub cap_bnd: u64,
    /// Ambient capabilities.
    pub cap_amb: u64,
    /// 1 if no_new_privs is set.
    pub no_new_privs: u32,
    /// 2 with a seccomp filter.
    pub seccomp: u32,
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Of that, what is no part of any file, in KiB.
    pub anonymous_kib: u64,
    /// The most resident memory so far, in KiB.
    pub peak_kib: u64,
    /// Threads.
    pub threads: u32,
}

/// The status of a process; none if there is no such process. A zombie has one.
#[must_use]
pub fn status(pid: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let fields: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).collect();
    let word = |field: &str| fields.get(field)?.split_whitespace().next();
    let numbers = |field: &str| -> Vec<u32> {
        let words = fields.get(field).unwrap_or(&"").split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let set = |field: &str| u64::from_str_radix(word(field)?, 16).ok();
    Some(Status {
        name: fields.get("Name")?.trim().to_owned(),
        state: word("State")?.chars().next()?,
        ppid: word("PPid")?.parse().ok()?,
        uids: numbers("Uid"),
        gids: numbers("Gid"),
        groups: numbers("Groups"),
        cap_inh: set("CapInh")?,
        cap_prm: set("CapPrm")?,
        cap_eff: set("CapEff")?,
        cap_bnd: set("CapBnd")?,
        cap_amb: set("CapAmb")?,
        no_new_privs: word("NoNewPrivs")?.parse().ok()?,
        seccomp: word("Seccomp")?.parse().ok()?,
        // A zombie has no memory.
        rss_kib: word("VmRSS").and_then(|word| word.parse().ok()).unwrap_or(0),
        anonymous_kib: word("RssAnon").and_then(|word| word.parse().ok()).unwrap_or(0),
        peak_kib: word("VmHWM").and_then(|word| word.parse().ok()).unwrap_or(0),
        threads: word("Threads")?.parse().ok()?,
    })
}

/// One process of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub group: u32,
    /// `R`, `S`, `Z`…
    pub state: char,
}

/// All processes.
#[must_use]
pub fn all() -> Vec<Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(entry).collect()
}

fn entry(pid: u32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything; the last parenthesis ends it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?.chars().next()?;
    let ppid = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    Some(Entry { pid, ppid, group, state })
}

/// The processes of a group, zombies included.
#[must_use]
pub fn group(group: u32) -> Vec<Entry> {
    all().into_iter().filter(|entry| entry.group == group).collect()
}

/// All processes below one, parents first.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let all = all();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|entry| entry.ppid == parent).map(|entry| entry.pid));
        next += 1;
    }
    found.remove(0);
    found
}

/// Those of these processes that have this name (`comm`).
#[must_use]
pub fn named(pids: &[u32], name: &str) -> Vec<u32> {
    let has_name = |pid: &u32| status(*pid).is_some_and(|status| status.name == name);
    pids.iter().copied().filter(has_name).collect()
}

/// Open descriptors and what they stand for.
#[must_use]
pub fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let open = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    open.collect()
}

/// Whether a process has this file open for reading, not only to designate it, and has gone to sleep since:
/// whatever it does at once after opening is done.
#[must_use]
pub fn sleeps_with_open(pid: u32, path: &Path) -> bool {
    const O_PATH: u32 = 0o10_000_000;
    let reads = |number: u32| {
        let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & O_PATH == 0)
    };
    let open = descriptors(pid).into_iter().any(|(number, other)| other == path && reads(number));
    open && entry(pid).is_some_and(|entry| entry.state == 'S')
}

/// How many descriptors a process has open.
#[must_use]
pub fn descriptor_count(pid: u32) -> usize {
    descriptors(pid).len()
}

/// Whether somebody listens on a Unix socket of this path, without connecting to it.
#[must_use]
pub fn is_listening(path: &Path) -> bool {
    // The columns are: address, references, protocol, flags, type, state, inode, path (proc(5)).
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.nth(3) == Some(ACCEPTS_CONNECTIONS) && words.nth(3).map(Path::new) == Some(path)
    })
}

/// Whether a process exists and is not a zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    entry(pid).is_some_and(|entry| entry.state != 'Z' && entry.state != 'X')
}

/// Lines for people: what these processes are.
#[must_use]
pub fn describe(pids: &[u32]) -> String {
    let line = |pid: &u32| {
        let title = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
        let title = String::from_utf8_lossy(&title.unwrap_or_default()).replace('\0', " ");
        let state = entry(*pid).map_or('-', |entry| entry.state);
        let name = status(*pid).map(|status| status.name).unwrap_or_default();
        format!("  {pid} {state} ({name}) {title}\n")
    };
    pids.iter().map(line).collect()
}

/// Processor time that a process has used so far.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    // USER_HZ, which proc(5) counts in, is 100 on every architecture that we build for.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let words = stat.rsplit_once(')').map_or("", |(_, words)| words).split_whitespace();
    // utime and stime are the 14th and 15th words of the line, two of which are cut off.
    let ticks = words.skip(11).take(2).filter_map(|word| word.parse::<u32>().ok());
    TICK * ticks.sum::<u32>()
}
