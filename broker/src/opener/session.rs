//! The opener's loop: one client at a time, from `Serve` to `Idle`.
//!
//! Runs in the opener, single-threaded. Each turn opens as many files as there is room for, passes
//! them to the least loaded worker, sends what the client takes, and then waits for the next event.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Refusal};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::lease_link::OpenerToDispatcher;
use fdbroker_common::opener_link::{BrokerToOpener, OpenerToBroker};
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::totals::Totals;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fleet::{Generation, Worker};
use super::open::OpenContext;
use super::reports::Client;
use super::scan::Scan;
use super::{BrokerChannel, DispatcherChannel};

/// Files opened in one turn before sockets are looked at again.
const STEPS_PER_TURN: usize = 256;
/// An idle worker gets this many files rather than waiting for a whole batch.
pub(super) const FIRST_BATCH_FILES: usize = 16;

/// Everything that an opener has.
pub struct Session {
    broker: BrokerChannel,
    pub(super) dispatcher: DispatcherChannel,
    /// User id that a worker must have.
    pub(super) scanner_uid: u32,
    context: Rc<OpenContext>,
    pub(super) client: Option<Client>,
    pub(super) workers: Vec<Worker>,
    pub(super) tables: Option<(GenerationId, Rc<RuleTable>)>,
    pub(super) wanted: u32,
    pub(super) scan: Option<Scan>,
    /// Whether the client has been told that the scan began.
    pub(super) accepted: bool,
    /// The rules that the client was told last.
    pub(super) announced: Option<GenerationId>,
    totals: Totals,
}

/// What poll(2) found.
struct Ready {
    broker: PollFlags,
    dispatcher: PollFlags,
    /// Leases of the workers that have said something.
    workers: Vec<u32>,
    client: PollFlags,
}

/// Why a client is not served any longer.
pub(super) enum Gone {
    /// It closed, broke the protocol, or was told that it is refused.
    Client,
    /// The broker or the dispatcher has gone: the process ends.
    Link(ChannelError),
}

impl Session {
    /// An opener without a client.
    #[must_use]
    pub fn new(
        (broker, dispatcher): (BrokerChannel, DispatcherChannel),
        scanner_uid: u32,
        context: Rc<OpenContext>,
    ) -> Self {
        Self {
            broker,
            dispatcher,
            scanner_uid,
            context,
            client: None,
            workers: Vec::new(),
            tables: None,
            wanted: 0,
            scan: None,
            accepted: false,
            announced: None,
            totals: Totals::default(),
        }
    }

    /// Serves one client after the other until the broker closes the link.
    ///
    /// # Errors
    /// `Closed` is the ordinary end; anything else is a broken link.
    pub fn serve(mut self) -> Result<(), ChannelError> {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(Gone::Client) => self.dismiss()?,
                Err(Gone::Link(error)) => return Err(error),
            }
        }
    }

    fn turn(&mut self) -> Result<(), Gone> {
        self.open_files();
        self.dispatch();
        self.finish_scan();
        self.return_unneeded()?;
        self.ask_for_workers()?;
        let now = Instant::now();
        self.discard_useless(now)?;
        if let Some(client) = &mut self.client {
            client.gather();
            if let Some(scan) = self.scan.as_ref().filter(|_| self.accepted) {
                client.keep_alive(&scan.totals, now);
            }
            client.flush().map_err(|_| Gone::Client)?;
        }
        self.wait(now)
    }

    /// Whether a file may be opened now.
    fn may_open(&self) -> bool {
        let keeps_up = self.client.as_ref().is_some_and(Client::keeps_up);
        self.accepted
            && keeps_up
            && self.scan.as_ref().is_some_and(|scan| scan.has_work() && scan.queue.has_room())
    }

    fn open_files(&mut self) {
        for _ in 0..STEPS_PER_TURN {
            if !self.may_open() {
                return;
            }
            if let (Some(scan), Some(client)) = (&mut self.scan, &mut self.client) {
                let wants_names = self.workers.iter().any(|worker| worker.generation.wants_names);
                scan.step(client, wants_names);
                // Small batches for workers that have nothing to do, whole ones for the others.
                let hungry = self.workers.iter().any(Worker::is_free);
                if hungry && scan.queue.len() >= FIRST_BATCH_FILES {
                    self.dispatch();
                }
            }
        }
    }

    fn finish_scan(&mut self) {
        let idle = self.workers.iter().all(Worker::is_idle);
        let done = idle && self.scan.as_ref().is_some_and(Scan::is_exhausted);
        if let (true, true, Some(client)) = (done, self.accepted, &mut self.client)
            && let Some(scan) = self.scan.take()
        {
            self.accepted = false;
            self.totals.merge(&scan.totals);
            scan.finish(client);
        }
    }

    fn wait(&mut self, now: Instant) -> Result<(), Gone> {
        let ready = self.poll(now)?;
        for lease in ready.workers {
            self.hear_worker(lease);
        }
        if !ready.broker.is_empty() {
            self.hear_broker()?;
        }
        if !ready.dispatcher.is_empty() {
            self.hear_dispatcher()?;
        }
        // Hanging up cancels even what was sent before it.
        if ready.client.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            return Err(Gone::Client);
        }
        if ready.client.contains(PollFlags::POLLIN) {
            self.hear_client()?;
        }
        Ok(())
    }

    fn poll(&self, now: Instant) -> Result<Ready, Gone> {
        let watched: Vec<(u32, BorrowedFd<'_>)> =
            self.workers.iter().filter_map(|worker| Some((worker.lease, worker.fd()?))).collect();
        let mut fds = vec![
            PollFd::new(self.broker.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.dispatcher.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(watched.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        if let Some(client) = &self.client {
            let mut events = PollFlags::empty();
            let listens = self.scan.as_ref().is_none_or(Scan::wants_targets);
            events.set(PollFlags::POLLIN, listens);
            events.set(PollFlags::POLLOUT, !client.keeps_up());
            fds.push(PollFd::new(client.fd(), events));
        }
        match poll(&mut fds, self.timeout(now)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Gone::Link(ChannelError::Io(error.into()))),
        }
        let mut events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let (broker, dispatcher) = (next(), next());
        let speaks = |(lease, _): &(u32, _)| (!next().is_empty()).then_some(*lease);
        let workers = watched.iter().filter_map(speaks).collect();
        let client = events.next().unwrap_or(PollFlags::empty());
        Ok(Ready { broker, dispatcher, workers, client })
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        if self.may_open() {
            return PollTimeout::ZERO;
        }
        let per_file = self.scan.as_ref().map(Scan::file_deadline);
        let deadlines = self.workers.iter().filter_map(|worker| worker.deadline(per_file?));
        let alive = self.client.as_ref().filter(|_| self.accepted).and_then(Client::next_event);
        deadlines.chain(alive).min().map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(now).as_millis().saturating_add(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        })
    }

    fn hear_broker(&mut self) -> Result<(), Gone> {
        loop {
            match self.broker.receive() {
                Ok((BrokerToOpener::Serve, connection)) => self.welcome(connection)?,
                Ok(_) => return Err(Gone::Link(ChannelError::Closed)),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(Gone::Link(error)),
            }
        }
    }

    fn welcome(&mut self, mut descriptors: Vec<OwnedFd>) -> Result<(), Gone> {
        let connection = descriptors.pop().ok_or(Gone::Client)?;
        let channel = Channel::adopt(connection).map_err(|_| Gone::Client)?;
        channel.set_nonblocking(true).map_err(|_| Gone::Client)?;
        self.client = Some(Client::new(channel));
        Ok(())
    }

    /// Tells the client that its scan begins, once there is a worker to say with which rules; and
    /// again when a worker comes that has newer ones.
    pub(super) fn accept(&mut self) {
        if let (Some(_), Some(client), Some(worker)) =
            (&self.scan, &mut self.client, self.workers.last())
        {
            let Generation { id, rules, .. } = worker.generation;
            if !self.accepted || self.announced != Some(id) {
                client.tell(OpenerToClient::Accepted { generation: id, rules });
            }
            self.announced = Some(id);
            self.accepted = true;
        }
    }

    fn hear_client(&mut self) -> Result<(), Gone> {
        while self.scan.as_ref().is_none_or(Scan::wants_targets) {
            let Some(client) = &mut self.client else {
                return Ok(());
            };
            let (message, descriptors) = match client.receive() {
                Ok(received) => received,
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(_) => return Err(Gone::Client),
            };
            match (message, &mut self.scan) {
                (ClientToOpener::Start(options), None) => {
                    match Scan::new(
                        options,
                        descriptors.into_iter().next(),
                        Rc::clone(&self.context),
                    ) {
                        Ok(scan) => {
                            self.scan = Some(scan);
                            self.accept();
                        }
                        Err(refusal) => return Err(self.refuse(refusal)),
                    }
                }
                (ClientToOpener::Targets(targets), Some(scan)) if scan.takes_targets() => {
                    scan.add(targets, descriptors)
                }
                (ClientToOpener::End, Some(scan)) if scan.takes_targets() => scan.all_told(),
                _ => return Err(Gone::Client),
            }
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) -> Gone {
        if let Some(client) = &mut self.client {
            client.tell(OpenerToClient::Refused(refusal));
            // If it does not read now, closing tells it as much.
            let _ = client.flush();
        }
        Gone::Client
    }

    /// The client has gone: everything that was done for it ends, and every worker goes back.
    fn dismiss(&mut self) -> Result<(), ChannelError> {
        if let Some(scan) = self.scan.take() {
            self.totals.merge(&scan.totals);
        }
        self.accepted = false;
        self.client = None;
        self.wanted = 0;
        for worker in std::mem::take(&mut self.workers) {
            let lease = worker.lease;
            // One that is busy with files that nobody waits for any more is not at fault.
            let message = if worker.fd().is_none() {
                OpenerToDispatcher::Discard { lease }
            } else {
                OpenerToDispatcher::Return { lease }
            };
            self.dispatcher.send(&message, &[])?;
        }
        let totals = std::mem::take(&mut self.totals);
        self.dispatcher.send(&OpenerToDispatcher::Served(totals), &[])?;
        self.broker.send(&OpenerToBroker::Idle, &[])
    }
}
