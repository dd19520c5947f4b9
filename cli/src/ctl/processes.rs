//! What /proc tells everybody about the processes of a broker.
//!
//! Runs as whoever asks; reads `status` and `stat` files only, and judges by the kernel's word, not
//! by what a process says of itself.

use std::collections::HashMap;
use std::fs;

/// The facts of `/proc/PID/status` that show a process's confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Real, effective, saved and file system user.
    pub uids: Vec<u32>,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Inheritable, permitted, effective and ambient capabilities.
    pub capabilities: [u64; 4],
    /// Whether no_new_privs is set.
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// How many filters.
    pub filters: u32,
    /// Parent.
    pub parent: u32,
}

/// Index of permitted and effective ones in [`Facts::capabilities`].
pub const PERMITTED: usize = 1;
/// See [`PERMITTED`].
pub const EFFECTIVE: usize = 2;

impl Facts {
    /// Reads those of a process; `None` if it is gone or a zombie.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// From the text of `/proc/PID/status`.
    #[must_use]
    pub fn parse(status: &str) -> Option<Self> {
        let fields: HashMap<&str, &str> =
            status.lines().filter_map(|line| line.split_once(':')).collect();
        let number = |field: &str| fields.get(field)?.trim().parse::<u32>().ok();
        let numbers = |field: &str| -> Option<Vec<u32>> {
            let words = fields.get(field)?.split_whitespace();
            words.map(|word| word.parse().ok()).collect()
        };
        // One that has ended and is only not yet waited for confines nothing any more.
        if fields.get("State")?.trim().starts_with('Z') {
            return None;
        }
        let set = |field: &str| u64::from_str_radix(fields.get(field)?.trim(), 16).ok();
        Some(Self {
            uids: numbers("Uid")?,
            gid: *numbers("Gid")?.get(1)?,
            groups: numbers("Groups")?,
            capabilities: [set("CapInh")?, set("CapPrm")?, set("CapEff")?, set("CapAmb")?],
            no_new_privs: number("NoNewPrivs")? == 1,
            seccomp: number("Seccomp")?,
            filters: number("Seccomp_filters")?,
            parent: number("PPid")?,
        })
    }
}

/// All processes below one, nearest first. Those that end meanwhile may be missing.
#[must_use]
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![ancestor];
    while let Some(pid) = next.pop() {
        let mut below = children.remove(&pid).unwrap_or_default();
        below.sort_unstable();
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// The parent in `/proc/PID/stat`. The name before it may contain anything, so the last `)` ends it.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tfdscand\nState:\tS (sleeping)\nPPid:\t7\nUid:\t65534\t65534\t65534\t65534\n\
        Gid:\t65534\t65533\t65534\t65534\nGroups:\t1 2 \nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000000004\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";

    #[test]
    fn a_status_file_is_read() {
        let expected = Facts {
            uids: vec![65534; 4],
            gid: 65533,
            groups: vec![1, 2],
            capabilities: [0, 4, 0, 0],
            no_new_privs: true,
            seccomp: 2,
            filters: 3,
            parent: 7,
        };
        assert_eq!(Facts::parse(STATUS), Some(expected));
        assert_eq!(Facts::parse("Uid:\t0\n"), None);
        assert_eq!(Facts::parse(&STATUS.replace("S (sleeping)", "Z (zombie)")), None);
    }

    #[test]
    fn a_process_name_cannot_forge_a_parent() {
        assert_eq!(parent("7 (a) S 1 ) R 42 7 7"), Some(42));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_child_is_found_below_us() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()), "{found:?}");
    }
}
