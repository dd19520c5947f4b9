//! Opener link: the broker (tag 0x31) and an opener that it started (tag 0x32).
//!
//! The broker tells an opener once whom it serves, then hands it connections of that caller. The
//! opener says only when it is idle again.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::limits::GROUPS_PER_MESSAGE_MAX;
use crate::wire::{Message, WireError, bound};

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToOpener {
    /// Supplementary groups; repeated until all are told. Only before `Become`.
    Groups(Vec<u32>),
    /// One grant, without its subjects; repeated until all are told. Only before `Become`.
    Trees(TreeGrant),
    /// Whom to serve; exactly once, before anything but the above. With one descriptor: the lease link.
    Become {
        /// As whom.
        identity: Identity,
        /// User id that a worker must have.
        scanner_uid: u32,
        /// What the caller may take.
        limits: Limits,
    },
    /// A connection of the caller (one descriptor). Only when idle.
    Serve,
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

/// Users, by their own number or by any group that they are in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subjects {
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids.
    pub gids: Vec<u32>,
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

/// Under which identity an opener works. No user id is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "user and group ids, as their names say")]
pub enum Identity {
    /// Exactly the caller's user and groups, no capability.
    Caller { uid: u32, gid: u32 },
    /// A user and group id of its own, not the scanner's, with `CAP_DAC_READ_SEARCH` alone, for callers who may
    /// read everything.
    ReadAll { uid: u32 },
    /// The same with another id, which reads beneath granted trees alone.
    Granted { uid: u32 },
    /// The identity it has: the broker is an ordinary user's own.
    Unchanged,
}

/// What an opener says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenerToBroker {
    /// The connection of the caller has ended.
    Idle,
}

impl Message for BrokerToOpener {
    const TAG: u8 = 0x31;
    const DESCRIPTORS_MAX: usize = 1;

    fn descriptors(&self) -> usize {
        usize::from(!matches!(self, Self::Groups(_) | Self::Trees(_)))
    }

    fn check(&self) -> Result<(), WireError> {
        use Identity::{Caller, Granted, ReadAll};
        match self {
            Self::Groups(groups) => {
                bound((1..=GROUPS_PER_MESSAGE_MAX).contains(&groups.len()), "number of groups")
            }
            Self::Trees(grant) => bound(!grant.trees.is_empty(), "number of trees"),
            Self::Become {
                identity: Caller { uid, .. } | ReadAll { uid } | Granted { uid },
                ..
            } => bound(*uid != 0, "user id of an opener"),
            _ => Ok(()),
        }
    }
}

impl Message for OpenerToBroker {
    const TAG: u8 = 0x32;
    const DESCRIPTORS_MAX: usize = 0;
}
