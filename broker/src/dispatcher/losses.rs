//! Workers that are lost, and to whom that is charged.
//!
//! Runs in the dispatcher. A worker that ends by itself, or that its opener has ended because it overran
//! or misbehaved, is charged to the caller that had it; one that we take away is not. Workers that
//! cannot be ended are charged for as long as they hang.

use std::time::Instant;

use fdbroker_common::lease_link::{DispatcherToOpener, LossCause};
use log::debug;

use super::Dispatcher;
use super::leases::{Ended, OpenerId, WorkerId};

/// Most leases of one opener about whose end it has yet to say whether it let go of the worker.
const EXITED_MAX: usize = 64;

impl Dispatcher {
    /// A worker is gone.
    pub(super) fn worker_ended(&mut self, worker: WorkerId, cause: LossCause) {
        debug!("worker {} of template {} ended: {cause:?}", worker.1, worker.0);
        let now = Instant::now();
        let Some(Ended { opener, lease, caller_uid, discarded }) = self.pool.ended(worker, now)
        else {
            return;
        };
        match cause {
            // It exits like this when its opener lets go of it, which may be known here before that
            // it was returned. If it was not, its opener will say so.
            LossCause::Exit(0) if !discarded => {
                if let Some(opener) = self.openers.get_mut(&opener) {
                    if opener.exited.len() >= EXITED_MAX {
                        opener.exited.pop_front();
                    }
                    opener.exited.push_back(lease);
                }
            }
            LossCause::Killed if !discarded => self.count_loss(),
            _ => self.penalise(caller_uid, now),
        }
        self.tell(opener, DispatcherToOpener::Lost { lease, cause });
    }

    /// When an opener that waits may have more than it may now.
    pub(super) fn penalty_events(&self, now: Instant) -> impl Iterator<Item = Instant> {
        self.wanting()
            .filter_map(move |(_, opener)| self.penalties.next_change(opener.caller_uid, now))
    }

    /// Tells openers that get no worker because too many hang on files of their caller.
    pub(super) fn refuse_blocked(&mut self, now: Instant) {
        let without = self.wanting().filter(|(id, _)| self.pool.held_by(*id).is_empty());
        let blocked = without.filter_map(|(id, opener)| {
            let blocked = self.pool.blocked(opener.caller_uid, now)?;
            Some((id, opener.caller_uid, blocked.stuck))
        });
        for (id, uid, stuck) in blocked.collect::<Vec<_>>() {
            self.warn_rarely(&format!(
                "{stuck} workers hang on files of uid {uid}; it gets no more until they end"
            ));
            if let Some(opener) = self.openers.get_mut(&id) {
                opener.want = 0;
            }
            self.tell(id, DispatcherToOpener::WorkersHang);
        }
    }

    /// An opener has no use for a worker any more, or has seen it go.
    pub(super) fn discard(&mut self, id: OpenerId, lease: u32) {
        let now = Instant::now();
        if let Some((template, worker)) = self.pool.discard(id, lease, now) {
            debug!("a worker of opener {id} overran its deadline or misbehaved");
            return self.scanner.kill(template, worker);
        }
        let Some(opener) = self.openers.get_mut(&id) else {
            return;
        };
        let before = opener.exited.len();
        opener.exited.retain(|other| *other != lease);
        if opener.exited.len() < before {
            let uid = opener.caller_uid;
            self.penalise(uid, now);
        }
    }

    /// A worker was lost through what this caller had it scan.
    pub(super) fn penalise(&mut self, uid: u32, now: Instant) {
        self.count_loss();
        if self.penalties.record(uid, now) {
            self.warn_rarely(&format!(
                "uid {uid} has lost many workers; it waits for the next ones from now on"
            ));
        }
    }

    fn count_loss(&mut self) {
        self.status.workers_lost = self.status.workers_lost.saturating_add(1);
    }
}
