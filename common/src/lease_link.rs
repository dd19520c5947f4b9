//! Lease link: the dispatcher (tag 0x33) and an opener (tag 0x34).
//!
//! The dispatcher lends workers. The opener can ask for workers, give them back, and have them ended;
//! nothing that it says names a file, a user or a verdict.

use serde::{Deserialize, Serialize};

use crate::generation::GenerationId;
use crate::limits::WORKERS_MAX;
use crate::totals::Totals;
use crate::wire::{Message, WireError, bound};

/// What the dispatcher says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DispatcherToOpener {
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
    /// No worker is lent to this caller before some of those end that could not be ended.
    WorkersHang,
}

/// Why a worker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// Ended by us: recalled and not returned, discarded, or its scanner went away.
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
pub enum OpenerToDispatcher {
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
    /// A connection of the caller has ended; what became of the files, for the statistics.
    Served(Totals),
}

impl Message for DispatcherToOpener {
    const TAG: u8 = 0x33;
    const DESCRIPTORS_MAX: usize = 2;

    fn descriptors(&self) -> usize {
        if matches!(self, Self::Lease { .. }) { 2 } else { 0 }
    }
}

impl Message for OpenerToDispatcher {
    const TAG: u8 = 0x34;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Want(workers) => bound(*workers <= WORKERS_MAX, "number of workers"),
            _ => Ok(()),
        }
    }
}
