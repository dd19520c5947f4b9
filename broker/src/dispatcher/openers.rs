//! The openers as the dispatcher sees them: who holds which worker, and who waits for one.
//!
//! Runs in the dispatcher. Does what `leases.rs` decides. An opener that breaks the protocol loses its
//! lease link, and with it its workers.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use fdbroker_common::channel::ChannelError;
use fdbroker_common::lease_link::{DispatcherToOpener, LossCause, OpenerToDispatcher};
use fdbroker_common::limits::{MESSAGES_PER_TURN, SCANNER_WAIT};
use log::debug;

use super::Dispatcher;
use super::leases::{Act, Demand, OpenerId, WorkerId};
use super::outbox::Outbox;
use super::penalties::Terms;

/// One opener.
pub struct Opener {
    link: Outbox,
    /// Process id, for people.
    pub pid: u32,
    /// For whom it works.
    pub caller_uid: u32,
    /// How many workers it wants.
    pub(super) want: u32,
    /// Since when it has been waiting for the next one.
    pub(super) since: Instant,
    /// Since when it has served its connection, or waited for a worker for it.
    pub(super) begun: Option<Instant>,
    /// Leases whose workers have exited as those do that are let go of; it has yet to say whether so.
    pub(super) exited: VecDeque<u32>,
}

impl Opener {
    /// Descriptor to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.link.fd()
    }

    /// Whether a message to it waits.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.link.has_unsent()
    }

    /// Whether it wants or has workers.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.want > 0
    }
}

impl Dispatcher {
    /// The broker has started an opener.
    pub(super) fn adopt_opener(&mut self, pid: u32, caller_uid: u32, link: OwnedFd) {
        match Outbox::adopt(link) {
            Ok(link) => {
                self.next_opener = self.next_opener.wrapping_add(1);
                let since = Instant::now();
                let exited = VecDeque::new();
                let opener = Opener { link, pid, caller_uid, want: 0, since, begun: None, exited };
                self.openers.insert(self.next_opener, opener);
            }
            Err(error) => debug!("opener {pid}: {error}"),
        }
    }

    /// Reads what an opener says.
    pub(super) fn hear_opener(&mut self, id: OpenerId) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(opener) = self.openers.get_mut(&id) else {
                return;
            };
            match opener.link.receive() {
                Ok((OpenerToDispatcher::Want(workers), _)) => {
                    opener.want = workers;
                    opener.since = Instant::now();
                }
                // A lease that is not there any more was lost while the message was on its way.
                Ok((OpenerToDispatcher::Return { lease }, _)) => {
                    opener.exited.retain(|other| *other != lease);
                    // If it wants another one, then after those that have been waiting.
                    opener.since = Instant::now();
                    if let Some(worker) = self.pool.lent(id, lease) {
                        self.end_worker(worker);
                    }
                }
                Ok((OpenerToDispatcher::Discard { lease }, _)) => self.discard(id, lease),
                Ok((OpenerToDispatcher::Served(totals), _)) => {
                    opener.want = 0;
                    if let Some(begun) = opener.begun.take() {
                        self.status.connection_time.observe(begun.elapsed());
                    }
                    self.status.connections = self.status.connections.saturating_add(1);
                    self.status.totals.merge(&totals);
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => return self.drop_opener(id, &error),
            }
        }
    }

    /// Lends, forks, recalls and ends workers as openers want them.
    pub(super) fn distribute(&mut self, now: Instant) {
        self.refuse_blocked(now);
        for act in self.pool.plan(&self.demands(now), now) {
            match act {
                Act::Fork((template, worker)) => self.scanner.fork(template, worker),
                Act::Kill((template, worker)) => self.scanner.kill(template, worker),
                Act::Lend(worker, opener, lease) => self.lend(worker, opener, lease),
                Act::Abandon(opener, lease) => {
                    if let Some(uid) = self.openers.get(&opener).map(|opener| opener.caller_uid) {
                        self.penalise(uid, now);
                    }
                    let cause = LossCause::Killed;
                    self.tell(opener, DispatcherToOpener::Lost { lease, cause });
                }
                Act::Recall(opener, lease) => {
                    self.tell(opener, DispatcherToOpener::Recall { lease });
                }
            }
        }
        self.report_absence(now);
    }

    /// Openers that want more workers than they hold, and may have them now.
    pub(super) fn demands(&self, now: Instant) -> Vec<Demand> {
        let demand = |(id, opener): (OpenerId, &Opener)| {
            let caller_uid = opener.caller_uid;
            let Terms { not_before, most } = self.penalties.terms(caller_uid, now);
            let may = not_before.is_none() && self.pool.blocked(caller_uid, now).is_none();
            let want = usize::try_from(opener.want).unwrap_or(usize::MAX);
            may.then_some(Demand { opener: id, caller_uid, want, most, since: opener.since })
        };
        self.wanting().filter_map(demand).collect()
    }

    /// Openers that want more workers than they hold.
    pub(super) fn wanting(&self) -> impl Iterator<Item = (OpenerId, &Opener)> {
        self.openers.iter().map(|(id, opener)| (*id, opener)).filter(|(id, opener)| {
            usize::try_from(opener.want).is_ok_and(|want| want > self.pool.held_by(*id).len())
        })
    }

    fn lend(&mut self, worker: WorkerId, id: OpenerId, lease: u32) {
        self.note_lent(id, Instant::now());
        let (Some(ready), Some(connection), Some(opener)) = (
            self.scanner.loaded(worker.0),
            self.pool.take_connection(worker),
            self.openers.get_mut(&id),
        ) else {
            return self.end_worker(worker);
        };
        let descriptors = vec![Rc::new(connection), Rc::clone(&ready.table)];
        let message = DispatcherToOpener::Lease {
            lease,
            generation: ready.generation,
            rules: ready.rules,
            wants_names: ready.wants_names,
        };
        opener.since = Instant::now();
        if let Err(error) = opener.link.send(message, descriptors) {
            self.drop_opener(id, &error);
        }
    }

    /// Ends a worker that nobody holds any more.
    fn end_worker(&mut self, worker: WorkerId) {
        self.pool.ending(worker, Instant::now());
        self.scanner.kill(worker.0, worker.1);
    }

    /// Tells openers that wait for a worker when there has been no scanner for too long.
    fn report_absence(&mut self, now: Instant) {
        let overdue = |since| now.saturating_duration_since(since) >= SCANNER_WAIT;
        if !self.scanner.absent_since.is_some_and(overdue) {
            return;
        }
        for demand in self.demands(now) {
            if let Some(opener) = self.openers.get_mut(&demand.opener) {
                opener.want = 0;
            }
            self.tell(demand.opener, DispatcherToOpener::NoScanner);
        }
    }

    pub(super) fn tell(&mut self, id: OpenerId, message: DispatcherToOpener) {
        if let Some(opener) = self.openers.get_mut(&id)
            && let Err(error) = opener.link.send(message, Vec::new())
        {
            // An opener that does not read what little we say is stuck.
            self.drop_opener(id, &error);
        }
    }

    /// Sends what openers could not take before.
    pub(super) fn flush_openers(&mut self) {
        let openers = self.openers.iter_mut();
        let gone = openers.filter_map(|(id, opener)| Some((*id, opener.link.flush().err()?)));
        for (id, error) in gone.collect::<Vec<_>>() {
            self.drop_opener(id, &error);
        }
    }

    fn drop_opener(&mut self, id: OpenerId, why: &ChannelError) {
        debug!("opener {id}: {why}");
        self.openers.remove(&id);
        for worker in self.pool.held_by(id) {
            self.end_worker(worker);
        }
    }
}
