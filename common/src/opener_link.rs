//! Opener link: the broker (tag 0x31) and an opener that it started (tag 0x32).
//!
//! The broker tells an opener once whom it serves, then hands it connections of that caller. The
//! opener says only when it is idle again.

use serde::{Deserialize, Serialize};

use crate::limits::GROUPS_PER_MESSAGE_MAX;
use crate::wire::{Message, WireError, bound};

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToOpener {
    /// Supplementary groups; repeated until all are told. Only before `Become`.
    Groups(Vec<u32>),
    /// Whom to serve; exactly once, before anything but `Groups`. With one descriptor: the lease link.
    Become {
        /// As whom.
        identity: Identity,
        /// User id that a worker must have.
        scanner_uid: u32,
    },
    /// A connection of the caller (one descriptor). Only when idle.
    Serve,
}

/// Under which identity an opener works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Identity {
    /// Exactly the caller's user and groups, no capability.
    Caller {
        /// User id, never 0.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// A user id of its own with `CAP_DAC_READ_SEARCH` alone, for callers who may read everything.
    ReadAll {
        /// User and group id of the opener; neither 0 nor the scanner's.
        uid: u32,
    },
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
        usize::from(!matches!(self, Self::Groups(_)))
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Groups(groups) => {
                bound((1..=GROUPS_PER_MESSAGE_MAX).contains(&groups.len()), "number of groups")
            }
            Self::Become {
                identity: Identity::Caller { uid, .. } | Identity::ReadAll { uid },
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
