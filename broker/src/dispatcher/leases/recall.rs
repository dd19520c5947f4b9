//! How workers are taken back.
//!
//! Runs in the dispatcher, as part of `Pool::plan`. A recall is a request; what is not returned stops
//! counting after a while, and is ended after a longer one.

use std::cmp::Reverse;
use std::time::Instant;

use fdbroker_common::limits::{LEASE_QUANTUM, RECALL_GRACE};

use super::lease::{Lease, State};
use super::{Act, Pool, WorkerId};

impl Pool {
    /// Ends what is of an old generation and has seen no file, and what was not given back: after a
    /// long time, or when there are more of these than may be lent.
    pub(super) fn retire(&mut self, now: Instant, acts: &mut Vec<Act>) {
        let overdue = self.leases().filter(|(_, lease)| lease.is_overdue(now));
        let mut overdue: Vec<(Option<Instant>, WorkerId)> =
            overdue.map(|(id, lease)| (lease.recalled, id)).collect();
        overdue.sort_unstable();
        let surplus = overdue.len().saturating_sub(self.limit);
        let surplus: Vec<WorkerId> = overdue.iter().take(surplus).map(|(_, id)| *id).collect();
        for (id, state) in &mut self.workers {
            match state {
                State::Fresh(_) | State::Forking(_) if Some(id.0) != self.current => {
                    acts.push(Act::Kill(*id));
                    *state = State::ending_unused(now);
                }
                State::Lent(lease, _) if lease.is_stuck(now) => {
                    acts.push(Act::Abandon(lease.opener, lease.number));
                    *state = State::Ending(lease.ending(now));
                }
                // It stays lent until it is gone, so that its opener is told.
                State::Lent(lease, _) if lease.discarded.is_none() => {
                    let since = lease.recalled.map(|at| now.saturating_duration_since(at));
                    if since.is_some_and(|since| since >= RECALL_GRACE) || surplus.contains(id) {
                        lease.discarded = Some(now);
                        lease.unreturned = true;
                        acts.push(Act::Kill(*id));
                    }
                }
                _ => {}
            }
        }
    }

    /// Asks for one worker per starving opener, from the user who holds most, then from the longest; or
    /// from this user alone.
    pub(super) fn recall(
        &mut self,
        starving: usize,
        from: Option<u32>,
        now: Instant,
        acts: &mut Vec<Act>,
    ) {
        let may_have = |lease: &Lease| from.is_none_or(|uid| lease.caller_uid == uid);
        let recalled = self.leases().filter(|(_, lease)| lease.recalled.is_some());
        let recalled = recalled.filter(|(_, lease)| may_have(lease) && !lease.is_overdue(now));
        for _ in recalled.count()..starving {
            let rank = |lease: &Lease| {
                let by_opener = self.held_by(lease.opener).len();
                let held_long = now.saturating_duration_since(lease.since) >= LEASE_QUANTUM;
                let may = lease.recalled.is_none() && (by_opener > 1 || held_long);
                (may && may_have(lease))
                    .then(|| (self.held_by_user(lease.caller_uid), by_opener, Reverse(lease.since)))
            };
            let ranked = self.leases().filter_map(|(id, lease)| Some((rank(lease)?, id)));
            let Some((_, id)) = ranked.max() else {
                return;
            };
            if let Some(State::Lent(lease, _)) = self.workers.get_mut(&id) {
                lease.recalled = Some(now);
                acts.push(Act::Recall(lease.opener, lease.number));
            }
        }
    }
}
