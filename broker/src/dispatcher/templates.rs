//! Templates: one for each generation of rules.
//!
//! Runs in the dispatcher. A new template is loaded beside the one that serves and takes over once it
//! has found EICAR; if it fails, the old one goes on. One that breaks the protocol is dropped.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::limits::{
    MESSAGES_PER_TURN, RULE_FILES_PER_MESSAGE_MAX, TEMPLATE_START, WORKERS_MAX,
};
use fdbroker_common::probe::Act;
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::scanner_link::{BrokerToTemplate, TemplateToBroker};
use log::info;
use nix::sys::socket::{SockType, getsockopt, sockopt};

use super::Dispatcher;
use super::scanner::{Rules, Scanner};
use crate::dispatch_link::DispatcherToBroker;

/// Old templates are kept for workers that hang only as long as there are no more templates than this:
/// a supervisor starts no more than eight.
const TEMPLATES_WITH_STUCK_MAX: usize = 4;

/// One template.
pub struct Template {
    channel: Channel<BrokerToTemplate, TemplateToBroker>,
    outbox: VecDeque<(BrokerToTemplate, Vec<OwnedFd>)>,
    started: Instant,
    ready: Option<Ready>,
}

/// What a template has loaded.
pub struct Ready {
    /// Names the rules.
    pub generation: GenerationId,
    /// How many.
    pub rules: u32,
    /// Whether jobs must carry names.
    pub wants_names: bool,
    /// Table of rule names, unread.
    pub table: Rc<OwnedFd>,
}

impl Scanner {
    /// Descriptors to poll, by number of the template.
    pub fn template_fds(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.templates.iter().map(|(number, template)| (*number, template.channel.as_fd()))
    }

    /// What a template has loaded.
    #[must_use]
    pub fn loaded(&self, number: u32) -> Option<&Ready> {
        self.templates.get(&number)?.ready.as_ref()
    }

    /// Asks a template for a worker.
    pub fn fork(&mut self, template: u32, worker: u32) {
        self.send(template, BrokerToTemplate::Fork { worker });
    }

    /// Asks a template to end a worker. Its parent does that: a process id or pidfd that a captured
    /// template named could be anybody's.
    pub fn kill(&mut self, template: u32, worker: u32) {
        self.send(template, BrokerToTemplate::Kill { worker });
    }

    /// Asks a template for a worker that tries an act, for instance on this file.
    pub fn probe(&mut self, template: u32, worker: u32, act: Act, file: OwnedFd) {
        if let Some(template) = self.templates.get_mut(&template) {
            template.outbox.push_back((BrokerToTemplate::Probe { worker, act }, vec![file]));
        }
    }

    /// Whether a lost template has yet to be replaced.
    pub(super) fn lacks_template(&self) -> bool {
        // One that has not said hello yet will have the rules read when it does.
        let greeted = self.is_connected() && self.greeting_due.is_none();
        greeted && self.current.is_none() && !self.is_loading()
    }

    /// Whether a template has yet to say that it is ready.
    pub(super) fn has_loading_template(&self) -> bool {
        self.templates.values().any(|template| template.ready.is_none())
    }

    /// When templates need something.
    pub(super) fn template_events(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let loading = self.templates.values().filter(|template| template.ready.is_none());
        let late = loading.filter_map(|template| template.started.checked_add(TEMPLATE_START));
        let unsent = self.templates.values().any(|template| !template.outbox.is_empty());
        late.chain(unsent.then(|| now.checked_add(Duration::from_millis(5))).flatten())
    }

    fn send(&mut self, number: u32, message: BrokerToTemplate) {
        if let Some(template) = self.templates.get_mut(&number) {
            template.outbox.push_back((message, Vec::new()));
        }
    }
}

impl Dispatcher {
    /// Starts a template in place of one that was lost.
    pub(super) fn restart_template(&mut self, now: Instant) -> Result<(), ChannelError> {
        if self.scanner.restart.is_some_and(|(at, _)| at <= now) && self.scanner.lacks_template() {
            return self.read_rules();
        }
        Ok(())
    }

    /// The supervisor has started a template.
    pub(super) fn adopt_template(
        &mut self,
        number: u32,
        link: Option<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let (Some((rules, _)), Some(link)) = (self.scanner.asked.remove(&number), link) else {
            return self.lose_scanner("a template that was not asked for");
        };
        let channel = match Channel::adopt(link).and_then(|channel| {
            channel.set_nonblocking(true)?;
            Ok(channel)
        }) {
            Ok(channel) => channel,
            Err(error) => return self.lose_scanner(&error.to_string()),
        };
        let template =
            Template { channel, outbox: outbox(rules), started: Instant::now(), ready: None };
        self.scanner.templates.insert(number, template);
        Ok(())
    }

    /// Sends what waits to be sent, as far as there is room.
    pub(super) fn flush_templates(&mut self) -> Result<(), ChannelError> {
        let mut broken = Vec::new();
        for (number, template) in &mut self.scanner.templates {
            while let Some((message, files)) = template.outbox.front() {
                let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
                match template.channel.send(message, &borrowed) {
                    Ok(()) => drop(template.outbox.pop_front()),
                    Err(ChannelError::WouldBlock) => break,
                    Err(error) => {
                        // What it said before it went is still to be read.
                        template.outbox.clear();
                        if !matches!(error, ChannelError::Closed) {
                            broken.push((*number, error.to_string()));
                        }
                    }
                }
            }
        }
        broken.into_iter().try_for_each(|(number, why)| self.lose_template(number, &why))
    }

    /// Reads what a template says.
    pub(super) fn hear_template(&mut self, number: u32) -> Result<(), ChannelError> {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(template) = self.scanner.templates.get_mut(&number) else {
                return Ok(());
            };
            let (message, mut files) = match template.channel.receive() {
                Ok(received) => received,
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return self.lose_template(number, &error.to_string()),
            };
            let was_ready = template.ready.is_some();
            match (message, files.pop()) {
                (TemplateToBroker::Ready { generation, rules, wants_names }, Some(table))
                    if !was_ready =>
                {
                    // Openers read it; one that no opener would take must not replace one that serves.
                    if let Err(error) = RuleTable::sealed_size(&table) {
                        return self.lose_template(number, &error.to_string());
                    }
                    let table = Rc::new(table);
                    template.ready = Some(Ready { generation, rules, wants_names, table });
                    self.switch_to(number, generation, rules)?;
                }
                (TemplateToBroker::Rejected { reason }, None) if !was_ready => {
                    self.scanner.templates.remove(&number);
                    self.rules_refused(&reason)?;
                }
                (TemplateToBroker::Worker { worker }, Some(connection)) if was_ready => {
                    let arrived = self
                        .vet_worker(&connection)
                        .and_then(|()| self.pool.arrived((number, worker), connection));
                    if let Err(why) = arrived {
                        return self.lose_template(number, why);
                    }
                }
                (TemplateToBroker::Exited { worker, cause }, None) => {
                    if self.probe_ended((number, worker), cause).is_some() {
                        continue;
                    }
                    // Its opener saw it go before its parent did: what killed it was not we.
                    let discarded = self.pool.was_discarded((number, worker));
                    let cause = match cause {
                        LossCause::Killed if discarded => LossCause::Signal(libc::SIGKILL),
                        cause => cause,
                    };
                    self.worker_ended((number, worker), cause);
                }
                _ => return self.lose_template(number, "a message out of order"),
            }
        }
        Ok(())
    }

    /// Whether a worker's connection is one that the scanner has made. Openers ask the same: they do not
    /// take our word for it.
    fn vet_worker(&self, connection: &OwnedFd) -> Result<(), &'static str> {
        let kind = getsockopt(connection, sockopt::SockType);
        let peer = getsockopt(connection, sockopt::PeerCredentials);
        match (kind, peer) {
            (Ok(SockType::SeqPacket), Ok(peer)) if peer.uid() == self.plan.scanner_uid => Ok(()),
            _ => Err("a worker that is no connection of the scanner"),
        }
    }

    fn switch_to(
        &mut self,
        number: u32,
        generation: GenerationId,
        rules: u32,
    ) -> Result<(), ChannelError> {
        self.scanner.current = Some(number);
        self.scanner_serves();
        let asked = [self.plan.workers, self.scanner.workers_asked].into_iter().find(|n| *n > 0);
        let limit = asked.and_then(|n| usize::try_from(n.min(WORKERS_MAX)).ok());
        self.workers_max = limit.unwrap_or(self.processors);
        self.pool.set_template(Some(number), self.workers_max);
        info!(
            "scanner ready: generation {generation}, {rules} rules, {} workers",
            self.workers_max
        );
        self.note_loaded();
        self.answer_reloaded(generation, rules);
        self.ask(&DispatcherToBroker::Serving)?;
        self.reload_again()
    }

    /// A template has gone or is sent away, and its workers with it.
    pub(super) fn lose_template(&mut self, number: u32, why: &str) -> Result<(), ChannelError> {
        match self.forget_template(number, why) {
            Some(template) if template.ready.is_none() => {
                self.rules_refused(format!("the template ended: {why}").as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Forgets a template and its workers.
    pub(super) fn forget_template(&mut self, number: u32, why: &str) -> Option<Template> {
        let template = self.scanner.templates.remove(&number)?;
        self.lose_probes(number);
        for worker in self.pool.of_template(number) {
            self.worker_ended(worker, LossCause::Killed);
        }
        if self.scanner.current == Some(number) {
            self.note_error(format!("the scanner's template ended: {why}"));
            self.scanner.current = None;
            self.scanner.absent_since = Some(Instant::now());
            self.pool.set_template(None, self.workers_max);
            // At once the first time, then ever more slowly: whatever ended it may end the next one.
            self.scanner.delay_restart(Duration::ZERO, Instant::now());
        }
        Some(template)
    }

    /// Old templates without workers, and new ones that take too long, go.
    pub(super) fn retire_templates(&mut self, now: Instant) -> Result<(), ChannelError> {
        let current = self.scanner.current;
        let crowded = self.scanner.templates.len() > TEMPLATES_WITH_STUCK_MAX;
        let others = self.scanner.templates.iter().filter(|(number, _)| Some(**number) != current);
        let mut late = Vec::new();
        let mut done = Vec::new();
        for (number, template) in others {
            if template.ready.is_none() {
                let age = now.saturating_duration_since(template.started);
                late.extend((age >= TEMPLATE_START).then_some(*number));
            } else if (self.pool.of_template(*number).is_empty()
                || (crowded && self.pool.hangs(*number, now)))
                && !self.probes.of_template(*number)
            {
                done.push(*number);
            }
        }
        for number in done {
            self.scanner.templates.remove(&number);
            // Those that hang are not heard of any more.
            for worker in self.pool.of_template(number) {
                self.worker_ended(worker, LossCause::Killed);
            }
        }
        late.into_iter().try_for_each(|number| self.lose_template(number, "not ready in time"))
    }
}

/// All rule files as messages of bounded size, then the word to compile them.
fn outbox((names, files): Rules) -> VecDeque<(BrokerToTemplate, Vec<OwnedFd>)> {
    let mut messages = VecDeque::new();
    let mut rules = names.into_iter().zip(files).peekable();
    while rules.peek().is_some() {
        let (names, files) = rules.by_ref().take(RULE_FILES_PER_MESSAGE_MAX).unzip();
        messages.push_back((BrokerToTemplate::Rules(names), files));
    }
    messages.push_back((BrokerToTemplate::Compile, Vec::new()));
    messages
}
