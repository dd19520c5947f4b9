//! The openers as the dispatcher sees them: who holds which worker, and who waits for one.
//!
//! Runs in the dispatcher. Does what `leases.rs` decides. An opener that breaks the protocol loses its
//! lease link, and with it its workers.

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

/// One opener.
pub struct Opener {
    link: Outbox,
    /// Process id, for people.
    pub pid: u32,
    /// For whom it works.
    pub caller_uid: u32,
    /// How many workers it wants.
    want: u32,
    /// Since when it has been waiting for the next one.
    since: Instant,
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
                let opener = Opener { link, pid, caller_uid, want: 0, since: Instant::now() };
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
                    if let Some(worker) = self.pool.lent(id, lease) {
                        self.end_worker(worker);
                    }
                }
                Ok((OpenerToDispatcher::Discard { lease }, _)) => {
                    let discarded = self.pool.discard(id, lease, Instant::now());
                    if let Some((template, worker)) = discarded {
                        debug!("a worker of opener {id} overran its deadline or misbehaved");
                        self.scanner.kill(template, worker);
                    }
                }
                Ok((OpenerToDispatcher::Served(totals), _)) => {
                    opener.want = 0;
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
        for act in self.pool.plan(&self.demands(), now) {
            match act {
                Act::Fork((template, worker)) => self.scanner.fork(template, worker),
                Act::Kill((template, worker)) => self.scanner.kill(template, worker),
                Act::Lend(worker, opener, lease) => self.lend(worker, opener, lease),
                Act::Abandon(opener, lease) => {
                    self.status.workers_lost = self.status.workers_lost.saturating_add(1);
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

    /// Openers that want more workers than they hold.
    pub(super) fn demands(&self) -> Vec<Demand> {
        let demand = |(id, opener): (&OpenerId, &Opener)| Demand {
            opener: *id,
            caller_uid: opener.caller_uid,
            want: usize::try_from(opener.want).unwrap_or(usize::MAX),
            since: opener.since,
        };
        let all = self.openers.iter().filter(|(_, opener)| opener.want > 0).map(demand);
        all.filter(|demand| demand.want > self.pool.held_by(demand.opener).len()).collect()
    }

    fn lend(&mut self, worker: WorkerId, id: OpenerId, lease: u32) {
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
        self.pool.ending(worker);
        self.scanner.kill(worker.0, worker.1);
    }

    /// A worker is gone.
    pub(super) fn worker_ended(&mut self, worker: WorkerId, cause: LossCause) {
        debug!("worker {} of template {} ended: {cause:?}", worker.1, worker.0);
        if let Some((opener, lease)) = self.pool.ended(worker, Instant::now()) {
            // It exits like this when its opener lets go of it, which may be known here before that
            // it was returned.
            let was_lost = cause != LossCause::Exit(0);
            let lost = &mut self.status.workers_lost;
            *lost = lost.saturating_add(u64::from(was_lost));
            self.tell(opener, DispatcherToOpener::Lost { lease, cause });
        }
    }

    /// Tells openers that wait for a worker when there has been no scanner for too long.
    fn report_absence(&mut self, now: Instant) {
        let overdue = |since| now.saturating_duration_since(since) >= SCANNER_WAIT;
        if !self.scanner.absent_since.is_some_and(overdue) {
            return;
        }
        for demand in self.demands() {
            if let Some(opener) = self.openers.get_mut(&demand.opener) {
                opener.want = 0;
            }
            self.tell(demand.opener, DispatcherToOpener::NoScanner);
        }
    }

    fn tell(&mut self, id: OpenerId, message: DispatcherToOpener) {
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
