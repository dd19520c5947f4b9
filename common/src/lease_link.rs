//! Lease link: the broker (tag 0x31) and an opener that it started (tag 0x32).
//!
//! The broker tells an opener once whom it serves, then hands it connections of that caller and
//! lends it workers. The opener can ask for workers, give them back, and say that it is idle;
//! nothing that it says names a file, a user or a verdict.

use serde::{Deserialize, Serialize};

use crate::job_link::GenerationId;
use crate::limits::{GROUPS_PER_MESSAGE_MAX, WORKERS_MAX};
use crate::outcome::Totals;
use crate::wire::{Message, WireError, bound};

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToOpener {
    /// Supplementary groups; repeated until all are told. Only before `Become`.
    Groups(Vec<u32>),
    /// Whom to serve; exactly once, before anything but `Groups`.
    Become(Identity),
    /// A connection of the caller (one descriptor). Only when idle.
    Serve,
    /// A worker (two descriptors: its connection, and the table of rule names).
    Lease {
        /// Names the lease.
        lease: u32,
        /// Rules that the worker has loaded.
        generation: GenerationId,
        /// How many rules that are.
        rules: u32,
        /// Whether jobs must carry names.
        wants_names: bool,
    },
    /// Send no more jobs to this worker and return it when it has answered.
    Recall {
        /// The lease.
        lease: u32,
    },
    /// The worker is gone.
    Lost {
        /// The lease.
        lease: u32,
        /// What ended it.
        cause: LossCause,
    },
    /// No scanner is connected, and none came within the bounded wait.
    NoScanner,
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

/// Why a worker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// Killed by the broker: recalled and not returned, discarded, or its scanner went away.
    Killed,
    /// Ended by a signal of its own making.
    Signal(i32),
    /// Exited.
    Exit(i32),
    /// Unknown.
    Unknown,
}

/// What an opener says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenerToBroker {
    /// How many workers it could use in all, counting those that it has; 0 to want none.
    Want(u32),
    /// Gives a worker back that has answered everything.
    Return {
        /// The lease.
        lease: u32,
    },
    /// Asks to end a worker that overran its deadline or misbehaved; `Lost` follows.
    Discard {
        /// The lease.
        lease: u32,
    },
    /// The connection of the caller has ended; what became of the files, for the statistics.
    Idle(Totals),
}

impl Message for BrokerToOpener {
    const TAG: u8 = 0x31;
    const DESCRIPTORS_MAX: usize = 2;

    fn descriptors(&self) -> usize {
        match self {
            Self::Serve => 1,
            Self::Lease { .. } => 2,
            _ => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Groups(groups) => bound(
                (1..=GROUPS_PER_MESSAGE_MAX).contains(&groups.len()),
                "number of groups",
            ),
            Self::Become(Identity::Caller { uid, .. } | Identity::ReadAll { uid }) => {
                bound(*uid != 0, "user id of an opener")
            }
            _ => Ok(()),
        }
    }
}

impl Message for OpenerToBroker {
    const TAG: u8 = 0x32;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Want(workers) => bound(*workers <= WORKERS_MAX, "number of workers"),
            _ => Ok(()),
        }
    }
}
