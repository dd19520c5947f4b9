//! What is known of one worker.
//!
//! Runs in the dispatcher. Plain data; `leases.rs` and its other parts decide.

use std::os::fd::OwnedFd;
use std::time::Instant;

use fdbroker_common::limits::{RECALL_OVERDUE, WORKER_END};

use super::OpenerId;

/// Who has a worker.
#[derive(Debug)]
pub(super) enum State {
    /// Asked for then, not there yet.
    Forking(Instant),
    /// Has never seen a file.
    Fresh(OwnedFd),
    /// Lent; its connection until that is on its way.
    Lent(Lease, Option<OwnedFd>),
    /// Its end has been asked for.
    Ending(Ending),
}

impl State {
    /// For one that has seen no file.
    pub fn ending_unused(now: Instant) -> Self {
        Self::Ending(Ending { caller_uid: None, since: now })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub number: u32,
    pub opener: OpenerId,
    pub caller_uid: u32,
    pub since: Instant,
    pub recalled: Option<Instant>,
    /// Since when its worker is to be ended.
    pub discarded: Option<Instant>,
    /// Whether it is to be ended because it was not returned.
    pub unreturned: bool,
}

impl Lease {
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.discarded.is_some_and(|at| now.saturating_duration_since(at) >= WORKER_END)
    }

    pub fn is_overdue(&self, now: Instant) -> bool {
        self.recalled.is_some_and(|at| now.saturating_duration_since(at) >= RECALL_OVERDUE)
    }

    /// What is left of it once it is nobody's.
    pub fn ending(&self, now: Instant) -> Ending {
        Ending { caller_uid: Some(self.caller_uid), since: self.discarded.unwrap_or(now) }
    }
}

/// A worker that nobody has any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Whose files it may hang on.
    pub caller_uid: Option<u32>,
    /// Since when it is to end.
    pub since: Instant,
}

impl Ending {
    pub fn is_stuck(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WORKER_END
    }
}
