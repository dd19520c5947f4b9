//! Which opener gets which worker. Pure bookkeeping: it decides, `openers.rs` acts.
//!
//! Runs in the dispatcher. A worker serves one opener, hence one caller, and is ended when it comes
//! back; a fresh one stands ready in its place. Users take turns; when all are lent and somebody waits,
//! the user who holds most, or longest, is asked to give one back.

mod lease;
mod recall;
pub mod stuck;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_common::limits::{
    LEASE_QUANTUM, RECALL_GRACE, RECALL_OVERDUE, SCANNER_ANSWER, WORKER_END,
};
use lease::{Lease, State};
use turns::Turns;

/// How long no worker is forked after one has ended unused; doubled with each further one in a row.
const STILLBORN_WAIT: Duration = Duration::from_millis(10);
/// A template whose workers have ended unused so often in a row, within five seconds, can make none.
const STILLBORN_MAX: u32 = 8;

/// Names a worker: its template, and its number there.
pub type WorkerId = (u32, u32);
/// Names an opener.
pub type OpenerId = u32;

/// An opener that wants more workers than it has.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// The opener.
    pub opener: OpenerId,
    /// For whom it works.
    pub caller_uid: u32,
    /// How many it wants in all.
    pub want: usize,
    /// How many its user may hold in all.
    pub most: usize,
    /// Since when it has been waiting.
    pub since: Instant,
}

/// A lease whose worker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Who had it.
    pub opener: OpenerId,
    /// Its number.
    pub lease: u32,
    /// For whom.
    pub caller_uid: u32,
    /// Whether its opener had it ended.
    pub discarded: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Ask its template for this worker.
    Fork(WorkerId),
    /// End this worker.
    Kill(WorkerId),
    /// Send it to the opener.
    Lend(WorkerId, OpenerId, u32),
    /// Ask the opener to return it.
    Recall(OpenerId, u32),
    /// Tell the opener that it is lost, though it has not ended.
    Abandon(OpenerId, u32),
}

/// All workers.
#[derive(Debug, Default)]
pub struct Pool {
    limit: usize,
    current: Option<u32>,
    workers: BTreeMap<WorkerId, State>,
    next_worker: u32,
    next_lease: u32,
    turns: Turns,
    /// How many workers in a row have ended before they were lent, and until when none is forked.
    stillborn: u32,
    no_fork_until: Option<Instant>,
}

impl Pool {
    /// Sets which template forks from now on, and how many workers may be lent at once.
    pub fn set_template(&mut self, template: Option<u32>, limit: usize) {
        self.current = template;
        self.limit = limit;
        self.stillborn = 0;
    }

    /// A worker that was asked for has come.
    ///
    /// # Errors
    /// Nobody asked for it.
    pub fn arrived(&mut self, id: WorkerId, connection: OwnedFd) -> Result<(), &'static str> {
        match self.workers.get_mut(&id) {
            Some(state @ State::Forking(_)) => {
                *state = State::Fresh(connection);
                Ok(())
            }
            // Its end was asked for before it came.
            Some(State::Ending(_)) => Ok(()),
            _ => Err("a worker that was not asked for"),
        }
    }

    /// A worker has ended. Tells whose it was.
    pub fn ended(&mut self, id: WorkerId, now: Instant) -> Option<Ended> {
        match self.workers.remove(&id)? {
            State::Lent(lease, _) => Some(Ended {
                opener: lease.opener,
                lease: lease.number,
                caller_uid: lease.caller_uid,
                discarded: lease.discarded.is_some() && !lease.unreturned,
            }),
            State::Forking(_) | State::Fresh(_) => {
                self.stillborn = self.stillborn.saturating_add(1);
                let wait = STILLBORN_WAIT.saturating_mul(1 << self.stillborn.min(9));
                self.no_fork_until = now.checked_add(wait);
                None
            }
            State::Ending(_) => None,
        }
    }

    /// The workers of a template.
    #[must_use]
    pub fn of_template(&self, template: u32) -> Vec<WorkerId> {
        self.workers.range((template, 0)..=(template, u32::MAX)).map(|(id, _)| *id).collect()
    }

    /// The worker of a lease, if this opener holds it.
    #[must_use]
    pub fn lent(&self, opener: OpenerId, number: u32) -> Option<WorkerId> {
        let mut leases = self.leases();
        leases.find(|(_, lease)| lease.opener == opener && lease.number == number).map(|(id, _)| id)
    }

    /// All workers that an opener holds.
    #[must_use]
    pub fn held_by(&self, opener: OpenerId) -> Vec<WorkerId> {
        self.leases().filter(|(_, lease)| lease.opener == opener).map(|(id, _)| id).collect()
    }

    /// The worker of a lease that is to be ended, if this opener holds it.
    pub fn discard(&mut self, opener: OpenerId, number: u32, now: Instant) -> Option<WorkerId> {
        let id = self.lent(opener, number)?;
        if let Some(State::Lent(lease, _)) = self.workers.get_mut(&id) {
            lease.discarded.get_or_insert(now);
        }
        Some(id)
    }

    /// Whether the opener of this worker had it ended, not we.
    #[must_use]
    pub fn was_discarded(&self, id: WorkerId) -> bool {
        let mut leases = self.leases();
        let lease = leases.find(|(other, _)| *other == id);
        lease.is_some_and(|(_, lease)| lease.discarded.is_some() && !lease.unreturned)
    }

    /// A template that does not do what it is asked.
    #[must_use]
    pub fn hung_template(&self, now: Instant) -> Option<u32> {
        let is_late = |state: &State| match state {
            State::Forking(since) => now.saturating_duration_since(*since) >= SCANNER_ANSWER,
            _ => false,
        };
        self.workers.iter().find(|(_, state)| is_late(state)).map(|(id, _)| id.0)
    }

    /// The template that serves, if it can make no workers and none of its workers is at work.
    #[must_use]
    pub fn barren_template(&self) -> Option<u32> {
        let idle = self.leases().next().is_none();
        self.current.filter(|_| idle && self.stillborn >= STILLBORN_MAX)
    }

    /// Marks a worker whose end has been asked for.
    pub fn ending(&mut self, id: WorkerId, now: Instant) {
        match self.workers.get_mut(&id) {
            None | Some(State::Ending(_)) => {}
            Some(State::Lent(lease, _)) => {
                let ending = lease.ending(now);
                self.workers.insert(id, State::Ending(ending));
            }
            Some(state) => *state = State::ending_unused(now),
        }
    }

    /// The connection of a worker that is being lent. We keep none.
    pub fn take_connection(&mut self, id: WorkerId) -> Option<OwnedFd> {
        match self.workers.get_mut(&id)? {
            State::Lent(_, connection) => connection.take(),
            _ => None,
        }
    }

    /// Workers alive, and workers lent.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.workers.len(), self.leases().count())
    }

    /// When [`Pool::plan`] has something to do even if nothing happens.
    #[must_use]
    pub fn next_event(&self, waiting: bool) -> Option<Instant> {
        let event = |lease: &Lease| match lease.recalled {
            _ if lease.discarded.is_some() => None,
            Some(at) if waiting && at.elapsed() < RECALL_OVERDUE => at.checked_add(RECALL_OVERDUE),
            Some(at) => at.checked_add(RECALL_GRACE),
            // What is over already has been considered.
            None => {
                lease.since.checked_add(LEASE_QUANTUM).filter(|at| waiting && *at > Instant::now())
            }
        };
        let discarded =
            self.leases().filter_map(|(_, lease)| lease.discarded?.checked_add(WORKER_END));
        let forking = self.workers.values().filter_map(|state| match state {
            State::Forking(since) => since.checked_add(SCANNER_ANSWER),
            _ => None,
        });
        let leases = self.leases().filter_map(|(_, lease)| event(lease));
        let stuck = self.stuck_events(Instant::now());
        leases.chain(discarded).chain(forking).chain(stuck).chain(self.no_fork_until).min()
    }

    /// Decides what to do for these demands.
    pub fn plan(&mut self, demands: &[Demand], now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        self.retire(now, &mut acts);
        let order = self.turns.order(demands, |uid| self.held_by_user(uid));
        // Round by round, so that each gets its first worker before any gets its second.
        let mut starving = 0_usize;
        let mut limited = BTreeSet::new();
        for round in 0..self.limit {
            for demand in &order {
                let held = self.held_by(demand.opener).len();
                if held > round || held >= demand.want {
                    continue;
                }
                if self.held_by_user(demand.caller_uid) >= demand.most {
                    // The openers of one user take turns; nobody else gives anything up for them.
                    limited.extend((held == 0).then_some(demand.caller_uid));
                } else if self.occupied(now) < self.limit {
                    self.lend(demand, now, &mut acts);
                } else if held == 0 && round == 0 {
                    starving = starving.saturating_add(1);
                }
            }
        }
        if self.no_fork_until.is_none_or(|at| at <= now) {
            self.no_fork_until = None;
            self.replenish(now, &mut acts);
        }
        self.recall(starving, None, now, &mut acts);
        for uid in limited {
            self.recall(1, Some(uid), now, &mut acts);
        }
        acts
    }

    fn leases(&self) -> impl Iterator<Item = (WorkerId, &Lease)> {
        self.workers.iter().filter_map(|(id, state)| match state {
            State::Lent(lease, _) => Some((*id, lease)),
            _ => None,
        })
    }

    fn held_by_user(&self, uid: u32) -> usize {
        self.leases().filter(|(_, lease)| lease.caller_uid == uid).count()
    }

    /// Leases that keep others from being lent: all but those that are overdue.
    fn occupied(&self, now: Instant) -> usize {
        self.leases().filter(|(_, lease)| !lease.is_overdue(now)).count()
    }

    fn lend(&mut self, demand: &Demand, now: Instant, acts: &mut Vec<Act>) {
        let fresh = |(id, state): (&WorkerId, &mut State)| match state {
            State::Fresh(_) if Some(id.0) == self.current => {
                match std::mem::replace(state, State::ending_unused(now)) {
                    State::Fresh(connection) => Some((*id, connection)),
                    _ => None,
                }
            }
            _ => None,
        };
        // None is there: one is being forked, and comes to us as an event.
        let Some((id, connection)) = self.workers.iter_mut().find_map(fresh) else {
            return;
        };
        self.next_lease = self.next_lease.wrapping_add(1);
        self.stillborn = 0;
        self.turns.served(demand.caller_uid);
        let lease = Lease {
            number: self.next_lease,
            opener: demand.opener,
            caller_uid: demand.caller_uid,
            since: now,
            recalled: None,
            discarded: None,
            unreturned: false,
        };
        self.workers.insert(id, State::Lent(lease, Some(connection)));
        acts.push(Act::Lend(id, demand.opener, lease.number));
    }

    /// A number that no other worker has.
    pub fn number(&mut self) -> u32 {
        self.next_worker = self.next_worker.wrapping_add(1);
        self.next_worker
    }

    /// Keeps fresh workers ready: as many as could be lent now, and one for the next change of hands.
    fn replenish(&mut self, now: Instant, acts: &mut Vec<Act>) {
        let Some(template) = self.current else {
            return;
        };
        let is_ready = |state: &&State| matches!(state, State::Fresh(_) | State::Forking(_));
        let ready = self.workers.values().filter(is_ready).count();
        let wanted = self.limit.saturating_sub(self.occupied(now)).max(1);
        for _ in ready..wanted {
            let id = (template, self.number());
            self.workers.insert(id, State::Forking(now));
            acts.push(Act::Fork(id));
        }
    }
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "leases_limits_tests.rs"]
mod limits_tests;
