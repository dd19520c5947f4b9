//! As whom a program of a test is started.
//!
//! Numbers only: fdbroker must serve users who have no line in /etc/passwd.

use nix::unistd::{getegid, geteuid, getgroups};

/// The user and group that fdscand is started as by hand.
const NOBODY: u32 = 65_534;

/// A user with a group and supplementary groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Caller {
    /// A user with a group of the same number and no supplementary group.
    #[must_use]
    pub fn user(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Root.
    #[must_use]
    pub fn root() -> Self {
        Self::user(0)
    }

    /// nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::user(NOBODY)
    }

    /// Whoever runs the test.
    #[must_use]
    pub fn own() -> Self {
        let groups = getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups }
    }

    /// Adds a supplementary group.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.groups.push(group);
        self
    }

    /// Arguments for `run-as`.
    pub(crate) fn arguments(&self) -> [String; 3] {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        [self.uid.to_string(), self.gid.to_string(), groups.join(",")]
    }
}
