//! Workers that do not end though they were killed.
//!
//! Runs in the dispatcher. A process that waits in the kernel, as for a FUSE server that has taken its
//! request and does not answer, survives SIGKILL. Such a worker is lent to nobody any more and does not
//! count among those that may be lent; but it is a process, and it is charged to the caller whose
//! files it had.

use std::time::Instant;

use fdbroker_common::limits::WORKER_END;

use super::Pool;
use super::lease::{Ending, State};

/// How many may hang on files of one caller before it gets no more workers.
pub const STUCK_PER_UID_MAX: usize = 4;
/// When so many hang in all, a single one is too many for a caller.
pub const STUCK_SHARED_MAX: usize = 64;
/// When so many hang in all, nobody gets any more: nothing can end them but who made them hang.
pub const STUCK_MAX: usize = 256;

/// A caller that gets no worker until some of its workers have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Blocked {
    /// How many hang on its files.
    pub stuck: usize,
}

impl Pool {
    /// How many workers were to end and do not.
    #[must_use]
    pub fn stuck(&self, now: Instant) -> usize {
        self.endings().filter(|ending| ending.is_stuck(now)).count()
    }

    /// Whether so many workers hang on files of this caller that it gets no more.
    pub fn blocked(&self, uid: u32, now: Instant) -> Option<Blocked> {
        let share = match self.stuck(now) {
            0..STUCK_SHARED_MAX => STUCK_PER_UID_MAX,
            STUCK_SHARED_MAX..STUCK_MAX => 1,
            _ => 0,
        };
        let own = self.endings().filter(|ending| ending.caller_uid == Some(uid));
        let stuck = own.filter(|ending| ending.is_stuck(now)).count();
        (stuck >= share).then_some(Blocked { stuck })
    }

    /// Whether a template has workers, and all of them hang.
    #[must_use]
    pub fn hangs(&self, template: u32, now: Instant) -> bool {
        let mut workers = self.workers.range((template, 0)..=(template, u32::MAX)).peekable();
        workers.peek().is_some()
            && workers.all(|(_, state)| match state {
                State::Ending(ending) => ending.is_stuck(now),
                _ => false,
            })
    }

    /// When workers that are to end count as stuck. What is over already has been considered.
    pub(super) fn stuck_events(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let lent = self.endings().filter(|ending| ending.caller_uid.is_some());
        lent.filter_map(|ending| ending.since.checked_add(WORKER_END)).filter(move |at| *at > now)
    }

    fn endings(&self) -> impl Iterator<Item = &Ending> {
        self.workers.values().filter_map(|state| match state {
            State::Ending(ending) => Some(ending),
            _ => None,
        })
    }
}
