//! Which opener gets which worker. Pure bookkeeping: it decides, `openers.rs` acts.
//!
//! Runs in the dispatcher. A worker serves one opener, hence one caller, and is ended when it comes
//! back; a fresh one stands ready in its place. When all are lent and somebody waits, the user who
//! holds most, or longest, is asked to give one back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_common::limits::{
    LEASE_QUANTUM, RECALL_GRACE, RECALL_OVERDUE, SCANNER_ANSWER, WORKER_END,
};

/// How long no worker is forked after one has ended unused; doubled with each further one in a row.
const STILLBORN_WAIT: Duration = Duration::from_millis(10);

/// Names a worker: its template, and its number there.
pub type WorkerId = (u32, u32);
/// Names an opener.
pub type OpenerId = u32;

/// Who has a worker.
#[derive(Debug)]
enum State {
    /// Asked for then, not there yet.
    Forking(Instant),
    /// Has never seen a file.
    Fresh(OwnedFd),
    /// Lent; its connection until that is on its way.
    Lent(Lease, Option<OwnedFd>),
    /// Its end has been asked for.
    Ending,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    number: u32,
    opener: OpenerId,
    caller_uid: u32,
    since: Instant,
    recalled: Option<Instant>,
    /// Since when its worker is to be ended.
    discarded: Option<Instant>,
    /// Whether it is to be ended because it was not returned.
    unreturned: bool,
}

impl Lease {
    fn is_stuck(&self, now: Instant) -> bool {
        self.discarded.is_some_and(|at| now.saturating_duration_since(at) >= WORKER_END)
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.recalled.is_some_and(|at| now.saturating_duration_since(at) >= RECALL_OVERDUE)
    }
}

/// An opener that wants more workers than it has.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// The opener.
    pub opener: OpenerId,
    /// For whom it works.
    pub caller_uid: u32,
    /// How many it wants in all.
    pub want: usize,
    /// Since when it has been waiting.
    pub since: Instant,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
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
    /// How many workers in a row have ended before they were lent, and until when none is forked.
    stillborn: u32,
    no_fork_until: Option<Instant>,
}

impl Pool {
    /// Sets which template forks from now on, and how many workers may be lent at once.
    pub fn set_template(&mut self, template: Option<u32>, limit: usize) {
        self.current = template;
        self.limit = limit;
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
            Some(State::Ending) => Ok(()),
            _ => Err("a worker that was not asked for"),
        }
    }

    /// A worker has ended. Tells whose it was.
    pub fn ended(&mut self, id: WorkerId, now: Instant) -> Option<(OpenerId, u32)> {
        match self.workers.remove(&id)? {
            State::Lent(lease, _) => Some((lease.opener, lease.number)),
            State::Forking(_) | State::Fresh(_) => {
                self.stillborn = self.stillborn.saturating_add(1);
                let wait = STILLBORN_WAIT.saturating_mul(1 << self.stillborn.min(9));
                self.no_fork_until = now.checked_add(wait);
                None
            }
            State::Ending => None,
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

    /// Marks a worker whose end has been asked for.
    pub fn ending(&mut self, id: WorkerId) {
        if let Some(state) = self.workers.get_mut(&id) {
            *state = State::Ending;
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
        leases.chain(discarded).chain(forking).chain(self.no_fork_until).min()
    }

    /// Decides what to do for these demands.
    pub fn plan(&mut self, demands: &[Demand], now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        self.retire(now, &mut acts);
        let mut order = demands.to_vec();
        order.sort_by_key(|demand| (self.held_by_user(demand.caller_uid), demand.since));
        // Round by round, so that each gets its first worker before any gets its second.
        let mut starving = 0_usize;
        for round in 0..self.limit {
            for demand in &order {
                let held = self.held_by(demand.opener).len();
                if held > round || held >= demand.want {
                    continue;
                }
                if self.occupied(now) < self.limit {
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
        self.recall(starving, now, &mut acts);
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

    /// Ends what is of an old generation and has seen no file, and what was not given back: after a
    /// long time, or when there are more of these than may be lent.
    fn retire(&mut self, now: Instant, acts: &mut Vec<Act>) {
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
                    *state = State::Ending;
                }
                State::Lent(lease, _) if lease.is_stuck(now) => {
                    acts.push(Act::Abandon(lease.opener, lease.number));
                    *state = State::Ending;
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

    fn lend(&mut self, demand: &Demand, now: Instant, acts: &mut Vec<Act>) {
        let fresh = |(id, state): (&WorkerId, &mut State)| match state {
            State::Fresh(_) if Some(id.0) == self.current => {
                match std::mem::replace(state, State::Ending) {
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

    /// Keeps fresh workers ready: as many as could be lent now, and one for the next change of hands.
    fn replenish(&mut self, now: Instant, acts: &mut Vec<Act>) {
        let Some(template) = self.current else {
            return;
        };
        let is_ready = |state: &&State| matches!(state, State::Fresh(_) | State::Forking(_));
        let ready = self.workers.values().filter(is_ready).count();
        let wanted = self.limit.saturating_sub(self.occupied(now)).max(1);
        for _ in ready..wanted {
            self.next_worker = self.next_worker.wrapping_add(1);
            let id = (template, self.next_worker);
            self.workers.insert(id, State::Forking(now));
            acts.push(Act::Fork(id));
        }
    }

    /// Asks for one worker per starving opener, from the user who holds most, then from the longest.
    fn recall(&mut self, starving: usize, now: Instant, acts: &mut Vec<Act>) {
        let recalled = self.leases().filter(|(_, lease)| lease.recalled.is_some());
        let on_the_way = recalled.filter(|(_, lease)| !lease.is_overdue(now)).count();
        for _ in on_the_way..starving {
            let rank = |lease: &Lease| {
                let by_opener = self.held_by(lease.opener).len();
                let held_long = now.saturating_duration_since(lease.since) >= LEASE_QUANTUM;
                let may = lease.recalled.is_none() && (by_opener > 1 || held_long);
                may.then(|| (self.held_by_user(lease.caller_uid), by_opener, Reverse(lease.since)))
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

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
