//! Authorization: who is served, and under which identity files are opened for them. Pure.
//!
//! Runs in the broker. Decides on peer credentials alone; no path, no message, no file.

use std::ffi::OsString;

use fdbroker_common::opener_link::Identity;
use fdbroker_common::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::settings::Mode;

/// What the administrator has written, without its names: users and groups are numbers here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Who is not served at all.
    pub denied: Subjects,
    /// What some may take; the first entry that names a user counts.
    pub limits: Vec<(Subjects, Limits)>,
    /// Trees that some may have scanned beyond what they can read themselves.
    pub grants: Vec<TreeGrant>,
}

/// Users, by their own number or by any group that they are in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subjects {
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids.
    pub gids: Vec<u32>,
}

/// What one user may take; 0 stands for what everybody may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Connections served at once.
    pub connections: u32,
    /// Files open for workers at once, of one connection.
    pub files_in_flight: u32,
    /// Bytes of all files of one scan together.
    pub scan_bytes: u64,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Seconds for one file.
    pub file_deadline_s: u32,
}

/// Read access for scanning, beneath some trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeGrant {
    /// Who has it.
    pub subjects: Subjects,
    /// Absolute paths of directories, without links; never resolved by the broker.
    pub trees: Vec<OsString>,
    /// Paths beneath them that it does not reach.
    pub except: Vec<OsString>,
    /// Whether files with several names are read: one of the names may be elsewhere.
    pub hard_links: bool,
}

/// The decision on one connection.
#[derive(Debug)]
#[must_use]
pub enum Authorization {
    /// Serve it under this grant.
    Allowed(Grant),
    /// Refuse it.
    Denied(Refusal),
}

/// For whom an opener works, and as whom. Two connections with equal grants may share an opener and
/// a worker; no others ever do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    caller_uid: u32,
    identity: Identity,
    groups: Vec<u32>,
}

impl Grant {
    /// The user who asks.
    #[must_use]
    pub fn caller_uid(&self) -> u32 {
        self.caller_uid
    }

    /// The identity of the opener.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Supplementary groups of the opener.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }
}

/// Every local user may have scanned what they can read themselves, root everything. A personal
/// broker serves its own user alone.
pub fn authorise(peer: &Peer, mode: Mode) -> Authorization {
    let (identity, groups) = match mode {
        // uid 0 without capabilities would still be root for the files that it owns.
        Mode::System { reader_uid, .. } if peer.uid == 0 => {
            (Identity::ReadAll { uid: reader_uid }, Vec::new())
        }
        Mode::System { .. } => {
            (Identity::Caller { uid: peer.uid, gid: peer.gid }, peer.groups.clone())
        }
        Mode::Personal { uid } if uid == peer.uid => (Identity::Unchanged, Vec::new()),
        Mode::Personal { .. } => return Authorization::Denied(Refusal::NotAllowed),
    };
    Authorization::Allowed(Grant { caller_uid: peer.uid, identity, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: Mode = Mode::System { scanner: (65_534, 65_534), reader_uid: 65_533 };

    fn peer(uid: u32) -> Peer {
        Peer { uid, gid: 100, groups: vec![100, 27], pid: 1 }
    }

    fn grant(peer: &Peer, mode: Mode) -> Grant {
        match authorise(peer, mode) {
            Authorization::Allowed(grant) => grant,
            Authorization::Denied(refusal) => panic!("refused: {refusal}"),
        }
    }

    #[test]
    fn a_user_is_served_with_exactly_their_own_identity() {
        let grant = grant(&peer(2000), SYSTEM);
        assert_eq!(grant.identity(), Identity::Caller { uid: 2000, gid: 100 });
        assert_eq!(grant.groups(), [100, 27]);
    }

    #[test]
    fn root_is_served_by_an_opener_that_is_not_root() {
        let grant = grant(&peer(0), SYSTEM);
        assert_eq!(grant.identity(), Identity::ReadAll { uid: 65_533 });
        assert!(grant.groups().is_empty());
    }

    #[test]
    fn a_personal_broker_serves_nobody_else_not_even_root() {
        for uid in [0, 2001] {
            assert!(matches!(
                authorise(&peer(uid), Mode::Personal { uid: 2000 }),
                Authorization::Denied(Refusal::NotAllowed)
            ));
        }
    }

    #[test]
    fn grants_of_different_groups_are_different() {
        let mut other = peer(2000);
        other.groups.pop();
        assert_ne!(grant(&peer(2000), SYSTEM), grant(&other, SYSTEM));
    }
}
