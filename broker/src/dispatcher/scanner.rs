//! The scanner's supervisor as the dispatcher sees it, and the rules on their way to it.
//!
//! Runs in the dispatcher. One scanner at a time; its uid is checked when it connects. When it goes, the
//! dispatcher says so, and scans wait for a bounded time until it comes back.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::escape::Escaped;
use fdbroker_common::limits::{MESSAGES_PER_TURN, RULE_FILES_MAX, SCANNER_ANSWER, TEMPLATE_START};
use fdbroker_common::scanner_link::{BrokerToSupervisor, SupervisorToBroker};
use log::{debug, info, warn};
use serde_bytes::ByteBuf;

use super::Dispatcher;
use super::templates::Template;
use crate::dispatch_link::DispatcherToBroker;
use crate::reader_link::{DispatcherToReader, ReaderToDispatcher};
use crate::root::peer::Peer;

type ReaderChannel = Channel<DispatcherToReader, ReaderToDispatcher>;
type SupervisorChannel = Channel<BrokerToSupervisor, SupervisorToBroker>;

/// Waits between attempts to start what keeps ending.
pub const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a scanner may be connected without a word: it has the one place there is.
const GREETING: Duration = Duration::from_secs(3);

/// Rule files by name, and the files.
pub type Rules = (Vec<ByteBuf>, Vec<OwnedFd>);

/// The supervisor, its templates, and the rules that wait for the next one.
#[derive(Default)]
pub struct Scanner {
    supervisor: Option<SupervisorChannel>,
    /// Until when it must have said what it is; none once it has.
    pub(super) greeting_due: Option<Instant>,
    /// When fdscand is started next if it is not there, and how long the attempt after that waits.
    respawn: Option<(Instant, Duration)>,
    /// The same for a template in place of one that was lost.
    pub(super) restart: Option<(Instant, Duration)>,
    /// Process id of the supervisor, for people.
    pub pid: u32,
    /// Workers that its administrator wants.
    pub workers_asked: u32,
    /// The rule reader, and what has come from it.
    reader: Option<ReaderChannel>,
    coming: Rules,
    /// Since when rules have been asked for.
    pub(super) reading: Option<Instant>,
    /// Whether they are to be read once more after those that are being loaded.
    pub(super) again: bool,
    next_template: u32,
    /// Rules for templates that have been asked for.
    pub(super) asked: BTreeMap<u32, (Rules, Instant)>,
    pub(super) templates: BTreeMap<u32, Template>,
    /// The template that serves.
    pub current: Option<u32>,
    /// Since when none has served.
    pub absent_since: Option<Instant>,
}

impl Scanner {
    /// No scanner yet.
    #[must_use]
    pub fn absent(now: Instant) -> Self {
        Self { absent_since: Some(now), ..Self::default() }
    }

    /// Descriptor to poll.
    pub fn supervisor_fd(&self) -> Option<BorrowedFd<'_>> {
        self.supervisor.as_ref().map(AsFd::as_fd)
    }

    /// Descriptor to poll.
    pub fn reader_fd(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// Whether one is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Whether rules are on their way to a template, or it is loading them.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.reading.is_some() || !self.asked.is_empty() || self.has_loading_template()
    }

    /// Has the next template started after so long; after longer and longer, if it was so within the last
    /// half minute, however many templates have come and gone since by reloads.
    pub(super) fn delay_restart(&mut self, least: Duration, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RESTART.1;
        let before = self.restart.filter(|(at, _)| is_recent(*at));
        let wait = before.map_or(least, |(_, wait)| wait.max(least));
        let next = (wait * 2).clamp(RESTART.0, RESTART.1);
        self.restart = now.checked_add(wait).map(|at| (at, next));
    }

    /// Until when the rules must have been read.
    fn reading_due(&self) -> Option<Instant> {
        let bound = if self.reader.is_some() { TEMPLATE_START } else { SCANNER_ANSWER };
        self.reading.and_then(|since| since.checked_add(bound))
    }

    /// When something must be done even if nothing happens.
    #[must_use]
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        let respawn = self.respawn.map(|(at, _)| at).filter(|_| self.supervisor.is_none());
        let restart = self.restart.map(|(at, _)| at).filter(|_| self.lacks_template());
        let asked =
            self.asked.values().filter_map(|(_, since)| since.checked_add(SCANNER_ANSWER)).min();
        let own = [respawn, restart, self.greeting_due, asked, self.reading_due()];
        let own = own.into_iter().flatten();
        self.template_events(now).chain(own).min()
    }
}

impl Dispatcher {
    /// Has fdscand started if it is not there and the broker starts it.
    pub(super) fn start_scanner(&mut self, now: Instant) -> Result<(), ChannelError> {
        let due = self.scanner.respawn.is_none_or(|(at, _)| at <= now);
        if !self.plan.starts_scanner || self.scanner.is_connected() || !due {
            return Ok(());
        }
        let wait = self.scanner.respawn.map_or(RESTART.0, |(_, wait)| (wait * 2).min(RESTART.1));
        self.scanner.respawn = now.checked_add(wait).map(|at| (at, wait));
        self.ask(&DispatcherToBroker::StartScanner)
    }

    /// A scanner that says nothing makes room for one that does.
    pub(super) fn expect_greeting(&mut self, now: Instant) -> Result<(), ChannelError> {
        if self.scanner.greeting_due.is_some_and(|at| at <= now) {
            return self.lose_scanner("it did not say what it is");
        }
        Ok(())
    }

    /// A template or a supervisor that does not do what it is asked is replaced.
    pub(super) fn expect_answers(&mut self, now: Instant) -> Result<(), ChannelError> {
        if let Some(template) = self.pool.hung_template(now) {
            self.lose_template(template, "it does not answer")?;
        }
        if self.scanner.reading_due().is_some_and(|at| at <= now) {
            self.rules_refused(b"the rules were not read in time")?;
        }
        if let Some(template) = self.pool.barren_template() {
            self.lose_template(template, "its workers end before they are lent")?;
        }
        let asked = self.scanner.asked.values().map(|(_, since)| *since).min();
        if asked.is_some_and(|since| now.saturating_duration_since(since) >= SCANNER_ANSWER) {
            return self.lose_scanner("it does not answer");
        }
        Ok(())
    }

    /// A scanner has come up that lasts.
    pub(super) fn scanner_serves(&mut self) {
        self.scanner.respawn = None;
        self.scanner.absent_since = None;
    }

    /// The broker has started fdscand.
    pub(super) fn adopt_scanner(&mut self, pid: u32, link: OwnedFd) {
        if self.scanner.is_connected() {
            let message = format!("fdscand {pid} is not needed: a scanner is connected already");
            return self.warn_rarely(&message);
        }
        let channel = SupervisorChannel::adopt(link).and_then(|channel| {
            channel.set_nonblocking(true)?;
            Ok(channel)
        });
        match channel {
            Ok(channel) => {
                info!("scanner connected: pid {pid}");
                self.scanner.pid = pid;
                self.scanner.supervisor = Some(channel);
                self.scanner.greeting_due = Instant::now().checked_add(GREETING);
            }
            Err(error) => debug!("scanner connection dropped: {error}"),
        }
    }

    /// A scanner connects to the scanner socket.
    pub(super) fn admit_scanner(&mut self, connection: OwnedFd) {
        match Peer::of(&connection) {
            Ok(peer) if peer.uid == self.plan.scanner_uid => {
                self.adopt_scanner(peer.pid, connection)
            }
            Ok(Peer { uid, pid, .. }) => self.warn_rarely(&format!(
                "scanner socket: uid {uid} pid {pid} refused, the scanner is uid {}",
                self.plan.scanner_uid
            )),
            Err(error) => debug!("scanner connection dropped: {error}"),
        }
    }

    /// Reads what the supervisor says.
    pub(super) fn hear_supervisor(&mut self) -> Result<(), ChannelError> {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(channel) = &mut self.scanner.supervisor else {
                return Ok(());
            };
            match channel.receive() {
                Ok((SupervisorToBroker::Hello { workers }, _)) => {
                    // Each costs the broker a process.
                    if self.scanner.greeting_due.take().is_none() {
                        return self.lose_scanner("a second greeting");
                    }
                    self.scanner.workers_asked = workers;
                    self.read_rules()?;
                }
                Ok((SupervisorToBroker::Template { template }, mut link)) => {
                    self.adopt_template(template, link.pop())?;
                }
                Ok((SupervisorToBroker::Failed { template, errno }, _)) => {
                    if self.scanner.asked.remove(&template).is_none() {
                        return self.lose_scanner("a template that was not asked for");
                    }
                    let reason = nix::errno::Errno::from_raw(errno).desc();
                    let reason = format!("the scanner cannot start a template: {reason}");
                    self.rules_refused(reason.as_bytes())?;
                }
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return self.lose_scanner(&error.to_string()),
            }
        }
        Ok(())
    }

    /// Asks the broker for the rules, unless they are on their way.
    pub(super) fn read_rules(&mut self) -> Result<(), ChannelError> {
        if self.scanner.reading.is_some() {
            return Ok(());
        }
        self.scanner.reading = Some(Instant::now());
        self.scanner.coming = Rules::default();
        self.rules_watch.load_begins();
        self.ask(&DispatcherToBroker::ReadRules)
    }

    /// The broker has started a rule reader.
    pub(super) fn adopt_rule_reader(&mut self, link: OwnedFd) -> Result<(), ChannelError> {
        if self.scanner.reading.is_none() {
            // It comes too late.
            return Ok(());
        }
        let reader = ReaderChannel::adopt(link)?;
        reader.set_nonblocking(true)?;
        self.scanner.reader = Some(reader);
        Ok(())
    }

    /// Reads what the rule reader says.
    pub(super) fn hear_rule_reader(&mut self) -> Result<(), ChannelError> {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(reader) = &mut self.scanner.reader else {
                return Ok(());
            };
            match reader.receive() {
                Ok((ReaderToDispatcher::Rules(names), files)) => {
                    if self.scanner.coming.0.len() > RULE_FILES_MAX {
                        return self.rules_refused(b"too many rule files");
                    }
                    self.scanner.coming.0.extend(names);
                    self.scanner.coming.1.extend(files);
                }
                Ok((ReaderToDispatcher::Watch, mut watch)) => {
                    if let Some(watch) = watch.pop().filter(|_| self.plan.watch_rules) {
                        self.rules_watch.renew(watch)?;
                    }
                }
                Ok((ReaderToDispatcher::End, _)) => return self.rules_complete(),
                Ok((ReaderToDispatcher::Failed(reason), _)) => return self.rules_refused(&reason),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => {
                    return self
                        .rules_refused(format!("the rule reader ended: {error}").as_bytes());
                }
            }
        }
        Ok(())
    }

    /// All rule files have come: a template is started for them.
    fn rules_complete(&mut self) -> Result<(), ChannelError> {
        self.scanner.reading = None;
        self.scanner.reader = None;
        let rules = std::mem::take(&mut self.scanner.coming);
        self.check_rules_watch(!rules.0.is_empty());
        if rules.0.is_empty() {
            warn!("no rule files (*.yar, *.yara): only the built-in EICAR test rule is loaded");
        }
        let Some(supervisor) = &mut self.scanner.supervisor else {
            // No fault of the rules: the next scanner that comes gets them read again.
            self.answer_reload_failed(b"no scanner is connected");
            return self.reload_again();
        };
        self.scanner.next_template = self.scanner.next_template.wrapping_add(1);
        let template = self.scanner.next_template;
        match supervisor.send(&BrokerToSupervisor::StartTemplate { template }, &[]) {
            Ok(()) => {
                self.scanner.asked.insert(template, (rules, Instant::now()));
                Ok(())
            }
            Err(error) => self.lose_scanner(&error.to_string()),
        }
    }

    /// New rules cannot be used. The old ones go on; a broker that has never served ends.
    pub(super) fn rules_refused(&mut self, reason: &[u8]) -> Result<(), ChannelError> {
        self.scanner.reading = None;
        self.scanner.reader = None;
        self.scanner.coming = Rules::default();
        self.rules_watch.load_failed(Instant::now());
        let line = format!("rules refused: {}", Escaped(reason));
        self.note_error(line.clone());
        self.note_refused(&Escaped(reason).to_string());
        self.answer_reload_failed(reason);
        // A scanner that came by itself does not end the broker: it may be none of ours.
        if self.scanner.current.is_none() && !self.has_served() && self.plan.starts_scanner {
            return self.ask(&DispatcherToBroker::Fail(line.into_bytes().into()));
        }
        // Without rules that serve, they are tried again, ever more slowly: nobody may have mended them.
        if self.scanner.current.is_none() {
            self.scanner.delay_restart(RESTART.0, Instant::now());
        }
        self.reload_again()
    }

    /// The scanner has gone or is sent away.
    pub(super) fn lose_scanner(&mut self, why: &str) -> Result<(), ChannelError> {
        if self.scanner.supervisor.take().is_none() {
            return Ok(());
        }
        self.note_error(format!("scanner lost: {why}; scans wait until it comes back"));
        self.scanner.asked.clear();
        self.scanner.greeting_due = None;
        self.scanner.pid = 0;
        for number in self.scanner.templates.keys().copied().collect::<Vec<_>>() {
            self.forget_template(number, why);
        }
        self.answer_reload_failed(b"the scanner was lost");
        // A private broker has nobody to wait for.
        if self.scanner_socket.is_none() && !self.has_served() {
            let line = format!("the scanner ended: {why}");
            return self.ask(&DispatcherToBroker::Fail(line.into_bytes().into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each of several losses, so many seconds after the one before, keeps the next template.
    fn waits(after: &[u64]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut scanner = Scanner::absent(now);
        let wait = |seconds: &u64| {
            now += Duration::from_secs(*seconds);
            scanner.delay_restart(Duration::ZERO, now);
            let (at, _) = scanner.restart.unwrap();
            let wait = at - now;
            now = at;
            wait.as_secs()
        };
        after.iter().map(wait).collect()
    }

    #[test]
    fn a_template_is_replaced_at_once_and_ever_more_slowly_if_it_ends_again_and_again() {
        assert_eq!(waits(&[0, 0, 0, 0, 0, 0, 0, 0]), [0, 1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn half_a_minute_without_a_loss_is_forgiven() {
        assert_eq!(waits(&[0, 29, 29, 30, 0, 31]), [0, 1, 2, 0, 1, 0]);
    }
}
