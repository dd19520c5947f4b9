//! The session's dealings with the dispatcher and with the workers that it lends.
//!
//! Runs in the opener. A worker that is lost costs at most the file that ended it: the others that it
//! had in hand go to the next one.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_common::channel::ChannelError;
use fdbroker_common::client_link::Refusal;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::lease_link::{DispatcherToOpener, LossCause, OpenerToDispatcher};
use fdbroker_common::limits::WORKERS_MAX;
use fdbroker_common::outcome::Failure;
use fdbroker_common::rule_table::RuleTable;

use nix::sys::socket::{getsockopt, sockopt};
use rustix::fs::fstat;

use super::batch::Batch;
use super::evidence::Entries;
use super::fleet::{Blame, Generation, Leftover, Why, Worker, choose, portion};
use super::patience::Owes;
use super::scan::Scan;
use super::session::{Gone, Session};

/// How long files wait that the kernel does not take: too many are in flight, of this user's in all. It
/// sends no event when there are fewer again.
const RETRY: Duration = Duration::from_millis(20);

/// What waits for a dispatcher that does not listen, at most; far more than one that works leaves.
const UNTOLD_MAX: usize = 4096;

impl Session {
    pub(super) fn dispatch(&mut self) {
        self.retry_at = None;
        let opens_more = self.may_open();
        let Some(scan) = &mut self.scan else {
            return;
        };
        let (bytes_max, wanted) = (scan.file_bytes_max(), scan.wanted());
        loop {
            let time_to_spare = opens_more && !scan.queue.has_suspect();
            let Some(worker) = choose(&mut self.workers, time_to_spare) else {
                return;
            };
            let idle = worker.is_idle();
            if idle && worker.is_used() && scan.queue.wants_unused() {
                // It goes back, and another one comes.
                worker.recall();
                continue;
            }
            let batch: Option<Batch> = if scan.queue.has_suspect() && idle {
                scan.queue.suspect()
            } else {
                portion(worker.standing(), scan.queue.len(), opens_more)
                    .and_then(|count| scan.queue.batch(count))
            };
            let Some(batch) = batch else {
                return;
            };
            if let Some(back) = worker.pass(batch, bytes_max, wanted) {
                back.files.into_iter().rev().for_each(|pending| scan.queue.put_back(pending));
                self.retry_at = Instant::now().checked_add(RETRY);
                return;
            }
        }
    }

    /// Wants one worker more while files wait that no worker keeps up with, none without a scan, and no
    /// other while it is the client's turn.
    pub(super) fn ask_for_workers(&mut self) -> Result<(), Gone> {
        let held = u32::try_from(self.workers.len()).unwrap_or(WORKERS_MAX);
        let enough = self.may_open() && self.workers.iter().any(Worker::may_keep_up);
        let waiting =
            |scan: &Scan| scan.queue.has_suspect() || (scan.queue.is_for_several() && !enough);
        let want = match &self.scan {
            Some(scan) if self.retry_at.is_none() && waiting(scan) => held.saturating_add(1),
            Some(scan)
                if self.accepted && scan.queue.is_empty() && self.owes() != Owes::Nothing =>
            {
                held
            }
            Some(_) => held.max(1),
            // The worker that stays needs no words.
            None => self.wanted.filter(|told| *told <= held).unwrap_or(0),
        };
        let want = want.min(WORKERS_MAX);
        if self.wanted.is_some_and(|told| want == told || (want > 0 && want < told)) {
            return Ok(());
        }
        self.wanted = Some(want);
        self.tell_dispatcher(OpenerToDispatcher::Want(want))
    }

    /// Gives back what is recalled, and what is not needed: without a scan one worker stays for the
    /// next one of the same client, without a client none.
    pub(super) fn return_unneeded(&mut self) -> Result<(), Gone> {
        let keep = match (&self.scan, &self.client) {
            (Some(_), _) => usize::MAX,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        loop {
            let mut workers = self.workers.iter().enumerate();
            let unneeded = workers.find(|(index, worker)| {
                worker.is_returnable() || (*index >= keep && worker.is_free())
            });
            let Some((index, _)) = unneeded else {
                return Ok(());
            };
            let lease = self.workers.remove(index).lease;
            self.wanted = match self.scan {
                Some(_) => None,
                // First, or another one would come in its place.
                None if self.wanted != Some(0) => {
                    self.tell_dispatcher(OpenerToDispatcher::Want(0))?;
                    Some(0)
                }
                None => Some(0),
            };
            self.tell_dispatcher(OpenerToDispatcher::Return { lease })?;
        }
    }

    /// Has workers ended that are beyond their deadline, gone, or not to be believed.
    pub(super) fn discard_useless(&mut self, now: Instant) -> Result<(), Gone> {
        let per_file = self.scan.as_ref().map(Scan::file_deadline);
        let mut useless = Vec::new();
        for worker in &mut self.workers {
            if per_file.and_then(|per_file| worker.deadline(per_file)).is_some_and(|at| at <= now) {
                worker.give_up(Why::Overran);
            }
            if worker.to_be_discarded() {
                useless.push(worker.lease);
            }
        }
        useless
            .into_iter()
            .try_for_each(|lease| self.tell_dispatcher(OpenerToDispatcher::Discard { lease }))
    }

    pub(super) fn hear_worker(&mut self, lease: u32) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.lease == lease) else {
            return;
        };
        let heard = worker.hear();
        if let (Some(scan), Some(client)) = (&mut self.scan, &mut self.client) {
            for heard in heard {
                scan.answered(client, heard, &worker.generation);
            }
        }
    }

    /// Reads what the dispatcher says.
    pub(super) fn hear_dispatcher(&mut self) -> Result<(), Gone> {
        loop {
            let (message, descriptors) = match self.dispatcher.receive() {
                Ok(received) => received,
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(Gone::Link(error)),
            };
            match message {
                DispatcherToOpener::Lease { lease, generation, rules, wants_names } => {
                    let about = (generation, rules, wants_names);
                    match self.adopt(lease, about, descriptors) {
                        Ok(()) => self.accept(),
                        Err(_) => self.decline(lease)?,
                    }
                }
                DispatcherToOpener::Recall { lease } => {
                    let mut workers = self.workers.iter_mut();
                    workers.find(|worker| worker.lease == lease).map(Worker::recall).unwrap_or(());
                }
                DispatcherToOpener::Lost { lease, cause } => self.worker_lost(lease, cause)?,
                DispatcherToOpener::NoScanner => self.no_worker(Refusal::NoScanner)?,
                DispatcherToOpener::WorkersHang => self.no_worker(Refusal::WorkersHang)?,
            }
        }
    }

    /// No worker will be lent.
    fn no_worker(&mut self, why: Refusal) -> Result<(), Gone> {
        self.wanted = Some(0);
        if self.scan.is_some() { Err(self.refuse(why)) } else { Ok(()) }
    }

    fn adopt(
        &mut self,
        lease: u32,
        about: (GenerationId, u32, bool),
        mut descriptors: Vec<OwnedFd>,
    ) -> std::io::Result<()> {
        let (Some(table), Some(connection)) = (descriptors.pop(), descriptors.pop()) else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        // Whoever made the connection is the scanner; the files that are passed are for no other.
        if getsockopt(&connection, sockopt::PeerCredentials)?.uid() != self.scanner_uid {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        let (id, rules, wants_names) = about;
        // Another scanner may call other rules by the same generation.
        let inode = fstat(&table)?.st_ino;
        let (table, entries) = match &self.tables {
            Some((known, names, entries)) if *known == (id, inode) => {
                (Rc::clone(names), Rc::clone(entries))
            }
            _ => {
                let names = RuleTable::read(&table).map_err(std::io::Error::other)?;
                (Rc::new(names), Rc::new(Entries::of(table)))
            }
        };
        if u32::try_from(table.len()) != Ok(rules) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        self.tables = Some(((id, inode), Rc::clone(&table), Rc::clone(&entries)));
        let generation = Generation { id, rules, wants_names, table, entries };
        self.workers.push(Worker::adopt(lease, connection, generation)?);
        Ok(())
    }

    /// A lease is of no use: the scanner that it comes from does not keep to the protocol. To ask for
    /// another one would bring the same, so the scan ends.
    fn decline(&mut self, lease: u32) -> Result<(), Gone> {
        self.tell_dispatcher(OpenerToDispatcher::Discard { lease })?;
        self.wanted = Some(0);
        if self.scan.is_some() {
            return Err(self.refuse(Refusal::NoScanner));
        }
        // Perhaps it was lent in the place of one that stayed between two scans.
        self.wanted = None;
        Ok(())
    }

    fn worker_lost(&mut self, lease: u32, cause: LossCause) -> Result<(), Gone> {
        // What it had answered before it went still counts.
        self.hear_worker(lease);
        let Some(index) = self.workers.iter().position(|worker| worker.lease == lease) else {
            return Ok(());
        };
        let mut worker = self.workers.swap_remove(index);
        self.wanted = None;
        // It may have ended as one does that is let go of, which it was not.
        if worker.to_be_discarded() {
            self.tell_dispatcher(OpenerToDispatcher::Discard { lease })?;
        }
        let (Some(scan), Some(client)) = (&mut self.scan, &mut self.client) else {
            return Ok(());
        };
        let seconds = u32::try_from(scan.file_deadline().as_secs()).unwrap_or(u32::MAX);
        for leftover in worker.leftovers(cause) {
            match leftover {
                Leftover::Again(pending) => scan.queue.put_back(pending),
                Leftover::Blamed(pending, blame) => {
                    let failure = match blame {
                        Blame::Crashed(signal) => Failure::WorkerCrashed(signal),
                        Blame::Overran => Failure::TimedOut(seconds),
                        Blame::Misbehaved => Failure::WorkerMisbehaved,
                    };
                    scan.failed(client, pending, failure);
                }
            }
        }
        Ok(())
    }

    pub(super) fn tell_dispatcher(&mut self, message: OpenerToDispatcher) -> Result<(), Gone> {
        self.tell(message).map_err(Gone::Link)
    }

    /// Tells the dispatcher, in order, as soon as it has room: it may be busy for longer than a client is.
    pub(super) fn tell(&mut self, message: OpenerToDispatcher) -> Result<(), ChannelError> {
        // Only the last of several wishes in a row counts.
        if let (OpenerToDispatcher::Want(_), Some(OpenerToDispatcher::Want(_))) =
            (&message, self.untold.back())
        {
            self.untold.pop_back();
        }
        if self.untold.len() >= UNTOLD_MAX {
            return Err(ChannelError::WouldBlock);
        }
        self.untold.push_back(message);
        self.tell_untold()
    }

    pub(super) fn tell_untold(&mut self) -> Result<(), ChannelError> {
        while let Some(message) = self.untold.front() {
            match self.dispatcher.send(message, &[]) {
                Ok(()) => drop(self.untold.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
