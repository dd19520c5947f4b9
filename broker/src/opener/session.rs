//! The opener's loop: one client at a time, from `Serve` to `Idle`.
//!
//! Runs in the opener, single-threaded. Each turn opens as many files as there is room for, passes
//! them to workers (`fleet::choose`), sends what the client takes, and then waits for the next event
//! (`wait`). A client that keeps it waiting for too long (`patience`) is dismissed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Refusal};
use fdbroker_common::eagerness::Eagerness;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::lease_link::OpenerToDispatcher;
use fdbroker_common::limits::MESSAGES_PER_TURN;
use fdbroker_common::opener_link::{BrokerToOpener, OpenerToBroker};
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::totals::Totals;
use nix::poll::PollFlags;
use nix::sys::socket::{getsockopt, sockopt};

use super::evidence::Entries;
use super::fleet::{FIRST_BATCH_FILES, Generation, Worker};
use super::open::OpenContext;
use super::recorder::Recorder;
use super::reports::Client;
use super::scan::Scan;
use super::wait::eagerness;
use super::{BrokerChannel, Contents, DispatcherChannel, Rights};
use crate::record_link::Ending;

/// Files opened in one turn before sockets are looked at again.
const STEPS_PER_TURN: usize = 64;

/// Everything that an opener has.
pub struct Session {
    pub(super) broker: BrokerChannel,
    pub(super) dispatcher: DispatcherChannel,
    /// What the dispatcher has not had room for.
    pub(super) untold: VecDeque<OpenerToDispatcher>,
    /// User id that a worker must have.
    pub(super) scanner_uid: u32,
    pub(super) recorder: Recorder,
    context: Rc<OpenContext>,
    rights: Rights,
    /// Of the files, for the client that is served.
    contents: Contents,
    pub(super) client: Option<Client>,
    pub(super) workers: Vec<Worker>,
    /// The names read last, by their generation and the inode of their table.
    pub(super) tables: Option<Tables>,
    /// What the dispatcher was told last, if that still holds.
    pub(super) wanted: Option<u32>,
    /// When files are passed again that the kernel did not take, because too many are in flight.
    pub(super) retry_at: Option<Instant>,
    pub(super) scan: Option<Scan>,
    /// Whether the client has been told that the scan began.
    pub(super) accepted: bool,
    /// The rules that the client was told last.
    pub(super) announced: Option<GenerationId>,
    totals: Totals,
    pub(super) eagerness: Eagerness,
}

/// The names of a generation's rules, and what they say of themselves.
pub(super) type Tables = ((GenerationId, u64), Rc<RuleTable>, Rc<Entries>);

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
        (broker, dispatcher, recorder): (BrokerChannel, DispatcherChannel, Recorder),
        scanner_uid: u32,
        (context, rights): (Rc<OpenContext>, Rights),
    ) -> Self {
        Self {
            broker,
            dispatcher,
            untold: VecDeque::new(),
            scanner_uid,
            recorder,
            context,
            rights,
            contents: Contents::Withheld,
            client: None,
            workers: Vec::new(),
            tables: None,
            wanted: Some(0),
            retry_at: None,
            scan: None,
            accepted: false,
            announced: None,
            totals: Totals::default(),
            eagerness: eagerness(),
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
                Err(Gone::Link(error)) => {
                    // What was told so far is to be known, if anybody still listens.
                    let _ = self.record();
                    if matches!(error, ChannelError::DescriptorsLost) {
                        self.refuse(Refusal::Overloaded);
                    }
                    return Err(error);
                }
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
            if self.workers.iter().all(Worker::is_idle) {
                client.greet_now();
            }
            if let Some(scan) = self.scan.as_ref().filter(|_| self.accepted) {
                client.keep_alive(&scan.totals, now);
            }
        }
        // Before the client hears of it; the auditor need not wake up twice for a request that is soon done.
        if !self.expects_answers_soon() || !self.client.as_ref().is_some_and(Client::keeps_up) {
            self.record().map_err(Gone::Link)?;
        }
        if let Some(client) = &mut self.client {
            client.flush().map_err(|_| Gone::Client)?;
        }
        // Whoever has just stopped the opening leaves files behind that waited for more.
        if !self.may_open() {
            self.dispatch();
        }
        let owes = self.owes();
        if self.client.as_mut().is_some_and(|client| client.patience.is_over(owes, now)) {
            return Err(self.refuse(Refusal::Silent));
        }
        self.wait(now)
    }

    /// Whether a file may be opened now.
    pub(super) fn may_open(&self) -> bool {
        let keeps_up = self.client.as_ref().is_some_and(Client::keeps_up);
        let in_hand = self.files_in_hand();
        let files_max = self.context.files_max(self.workers.len());
        let has_room = |scan: &Scan| {
            scan.queue.has_room() && scan.queue.len().saturating_add(in_hand) < files_max
        };
        let may = |scan: &Scan| scan.has_work() && has_room(scan);
        let recorded = self.recorder.keeps_up();
        self.accepted && keeps_up && recorded && self.scan.as_ref().is_some_and(may)
    }

    fn open_files(&mut self) {
        for _ in 0..STEPS_PER_TURN {
            if !self.may_open() {
                return;
            }
            if let (Some(scan), Some(client)) = (&mut self.scan, &mut self.client) {
                let wants_names = self.workers.iter().any(|worker| worker.generation.wants_names);
                scan.step(client, wants_names);
                // Perhaps a worker has nothing to do.
                if scan.queue.len().is_multiple_of(FIRST_BATCH_FILES) {
                    self.dispatch();
                }
            }
        }
    }

    fn finish_scan(&mut self) {
        let idle = self.workers.iter().all(Worker::is_idle);
        let done = idle && self.scan.as_ref().is_some_and(Scan::is_exhausted);
        if done && self.accepted {
            self.end_request(Ending::Done);
        }
        if let (true, true, Some(client)) = (done, self.accepted, &mut self.client)
            && let Some(scan) = self.scan.take()
        {
            self.accepted = false;
            self.totals.merge(&scan.totals);
            scan.finish(client);
        }
    }

    /// Tells the auditor what was noted.
    fn record(&mut self) -> Result<(), ChannelError> {
        if let Some(scan) = &mut self.scan {
            self.recorder.add(&mut scan.notes);
        }
        self.recorder.flush()
    }

    fn end_request(&mut self, ending: Ending) {
        let (mut targets, mut totals) = (0, Totals::default());
        if let Some(scan) = &mut self.scan {
            self.recorder.add(&mut scan.notes);
            (targets, totals) = (scan.notes.targets(), scan.totals);
        }
        let generation = self.announced.filter(|_| self.accepted);
        self.recorder.end(ending, generation, targets, totals);
    }

    fn wait(&mut self, now: Instant) -> Result<(), Gone> {
        let ready = match self.look()? {
            Some(ready) if !ready.workers.is_empty() => ready,
            // Whatever else comes, the auditor is not kept waiting for it.
            other => {
                self.record().map_err(Gone::Link)?;
                other.map_or_else(|| self.sleep(now), Ok)?
            }
        };
        for lease in ready.workers {
            self.hear_worker(lease);
        }
        if !ready.broker.is_empty() {
            self.hear_broker()?;
        }
        if !ready.dispatcher.is_empty() {
            self.tell_untold().map_err(Gone::Link)?;
            self.hear_dispatcher()?;
        }
        if !ready.auditor.is_empty() {
            self.recorder.hear().map_err(Gone::Link)?;
            let files = self.recorder.files();
            self.scan.iter_mut().for_each(|scan| scan.notes.files = files);
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
        let credentials = getsockopt(&channel, sockopt::PeerCredentials);
        self.contents = self.rights.contents_for(credentials.ok().map(|client| client.uid()));
        self.client = Some(Client::new(channel));
        self.recorder.welcome();
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
                client.greet(OpenerToClient::Accepted { generation: id, rules });
            }
            self.announced = Some(id);
            self.accepted = true;
        }
    }

    fn hear_client(&mut self) -> Result<(), Gone> {
        for _ in 0..MESSAGES_PER_TURN {
            let listens = self.hears_client();
            let Some(client) = self.client.as_mut().filter(|_| listens) else {
                return Ok(());
            };
            let (message, descriptors) = match client.receive() {
                Ok(received) => received,
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(ChannelError::DescriptorsLost) => {
                    return Err(self.refuse(Refusal::Overloaded));
                }
                Err(_) => return Err(Gone::Client),
            };
            match (message, &mut self.scan) {
                (ClientToOpener::Start(options), None) => {
                    self.recorder.begin();
                    match Scan::new(
                        options,
                        descriptors.into_iter().next(),
                        Rc::clone(&self.context),
                    ) {
                        Ok(mut scan) => {
                            scan.notes.files = self.recorder.files();
                            scan.set_contents(self.contents);
                            self.scan = Some(scan);
                            self.accept();
                        }
                        Err(refusal) => return Err(self.refuse(refusal)),
                    }
                }
                (ClientToOpener::Targets(targets), Some(scan))
                    if scan.takes_targets() && !scan.takes_names() =>
                {
                    scan.add(targets, descriptors)
                }
                (ClientToOpener::PathTargets(targets), Some(scan))
                    if scan.takes_targets() && scan.takes_names() =>
                {
                    scan.add_named(targets)
                }
                (ClientToOpener::End, Some(scan)) if scan.takes_targets() => scan.all_told(),
                (ClientToOpener::Waiting, Some(_)) => {}
                _ => return Err(Gone::Client),
            }
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) -> Gone {
        self.end_request(Ending::Refused(refusal));
        // If it fails, the next turn finds that out.
        let _ = self.record();
        if let Some(client) = &mut self.client {
            client.tell(OpenerToClient::Refused(refusal));
            // If it does not read now, closing tells it as much.
            let _ = client.flush();
        }
        Gone::Client
    }

    /// The client has gone: everything that was done for it ends, and every worker goes back.
    fn dismiss(&mut self) -> Result<(), ChannelError> {
        self.end_request(Ending::Aborted);
        self.recorder.flush()?;
        if let Some(scan) = self.scan.take() {
            self.totals.merge(&scan.totals);
        }
        self.accepted = false;
        self.client = None;
        self.wanted = Some(0);
        self.retry_at = None;
        // First, or another worker would come in the place of one that goes back.
        let totals = std::mem::take(&mut self.totals);
        self.tell(OpenerToDispatcher::Served(totals))?;
        for worker in std::mem::take(&mut self.workers) {
            let lease = worker.lease;
            // One that is busy with files that nobody waits for any more is not at fault.
            let message = if worker.fd().is_none() {
                OpenerToDispatcher::Discard { lease }
            } else {
                OpenerToDispatcher::Return { lease }
            };
            self.tell(message)?;
        }
        self.broker.send(&OpenerToBroker::Idle, &[])
    }
}
