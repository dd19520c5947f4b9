//! Reports on their way to the client, gathered into messages.
//!
//! Runs in the opener. A client that does not read makes the walk wait; nothing is dropped.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Report};
use fdbroker_common::details::{Details, PatternMatch, RuleFacts};
use fdbroker_common::limits::{PROGRESS_INTERVAL, REPORT_BYTES_SOFT_MAX, REPORTS_PER_MESSAGE_MAX};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;

use super::patience::Patience;

/// What the rest of a report takes in a message, generously.
const REPORT_OVERHEAD_BYTES: usize = 48;

/// The opener's end of the client link.
pub type ClientChannel = Channel<OpenerToClient, ClientToOpener>;

/// The client, with what waits to be told to it.
pub struct Client {
    channel: ClientChannel,
    gathered: Vec<Report>,
    /// The same, of a client that has asked for details.
    detailed: Vec<(Report, Details)>,
    bytes: usize,
    /// Sent before anything else is, or when no answer is near: it need not wake the client twice.
    greeting: Option<OpenerToClient>,
    unsent: std::collections::VecDeque<OpenerToClient>,
    /// When it was told counts last.
    counted: Instant,
    /// How long it is waited for.
    pub patience: Patience,
}

impl Client {
    /// Takes the connection.
    #[must_use]
    pub fn new(channel: ClientChannel) -> Self {
        let now = Instant::now();
        Self {
            channel,
            gathered: Vec::new(),
            detailed: Vec::new(),
            bytes: 0,
            greeting: None,
            unsent: std::collections::VecDeque::new(),
            counted: now,
            patience: Patience::new(now),
        }
    }

    /// Descriptor to poll.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Whether it has taken what it was told so far.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads one message.
    ///
    /// # Errors
    /// As [`Channel::receive`].
    pub fn receive(&mut self) -> Result<(ClientToOpener, Vec<std::os::fd::OwnedFd>), ChannelError> {
        let received = self.channel.receive()?;
        self.patience.heard(Instant::now());
        Ok(received)
    }

    /// Adds a report to the next message.
    pub fn report(&mut self, report: Report, details: Option<Details>) {
        let names = match &report.outcome {
            Outcome::Match { rules } => rules.iter().map(|rule| rule.len().saturating_add(4)).sum(),
            _ => 0_usize,
        };
        let bytes = report.path.len().saturating_add(names).saturating_add(REPORT_OVERHEAD_BYTES);
        let bytes = bytes.saturating_add(details.as_ref().map_or(0, bytes_of));
        if self.bytes.saturating_add(bytes) > REPORT_BYTES_SOFT_MAX
            || self.gathered.len().saturating_add(self.detailed.len()) >= REPORTS_PER_MESSAGE_MAX
        {
            self.gather();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        match details {
            Some(details) => self.detailed.push((report, details)),
            None => self.gathered.push(report),
        }
    }

    /// Sends everything that is gathered, then this message.
    pub fn tell(&mut self, message: OpenerToClient) {
        self.gather();
        self.unsent.extend(self.greeting.take());
        self.unsent.push_back(message);
    }

    /// As [`Client::tell`], but not before there is more to tell, or nothing that will soon be.
    pub fn greet(&mut self, message: OpenerToClient) {
        self.gather();
        self.unsent.extend(self.greeting.replace(message));
    }

    /// Closes the current message so that it is sent.
    pub fn gather(&mut self) {
        if !self.gathered.is_empty() {
            self.bytes = 0;
            let reports = std::mem::take(&mut self.gathered);
            self.unsent.extend(self.greeting.take());
            self.unsent.push_back(OpenerToClient::Reports(reports));
        }
        if !self.detailed.is_empty() {
            self.bytes = 0;
            let reports = std::mem::take(&mut self.detailed);
            self.unsent.extend(self.greeting.take());
            self.unsent.push_back(OpenerToClient::Detailed(reports));
        }
    }

    /// Nothing will soon be told: sends the greeting alone.
    pub fn greet_now(&mut self) {
        self.unsent.extend(self.greeting.take());
    }

    /// Sends what the client takes now.
    ///
    /// # Errors
    /// The client has gone.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some(message) = self.unsent.front() {
            match self.channel.send(message, &[]) {
                Ok(()) => {
                    let is_report =
                        matches!(message, OpenerToClient::Reports(_) | OpenerToClient::Detailed(_));
                    self.patience.took(is_report, Instant::now());
                    self.unsent.pop_front();
                }
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells counts once in a while: a sign of life, and all that is known of files that are not reported.
    pub fn keep_alive(&mut self, totals: &Totals, now: Instant) {
        if self.keeps_up() && now.saturating_duration_since(self.counted) >= PROGRESS_INTERVAL {
            self.counted = now;
            self.tell(OpenerToClient::Progress(*totals));
        }
    }

    /// When counts are due; never while it does not take what it was told.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.counted.checked_add(PROGRESS_INTERVAL).filter(|_| self.keeps_up())
    }
}

fn bytes_of(details: &Details) -> usize {
    let rules = details.rules.iter().map(RuleFacts::message_bytes);
    rules
        .chain(details.matches.iter().map(PatternMatch::message_bytes))
        .fold(40, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_each_second_however_much_else_is() {
        let (channel, _peer) = ClientChannel::pair().unwrap();
        let mut client = Client::new(channel);
        let begun = Instant::now();
        let path = b"link".to_vec().into();
        let outcome = Outcome::Skipped(fdbroker_common::outcome::SkipReason::SymbolicLink);
        client.report(Report { target: 0, path, size: 0, outcome }, None);
        client.gather();
        client.flush().unwrap();
        client.keep_alive(&Totals::default(), begun);
        assert!(client.keeps_up(), "too early");
        client.keep_alive(&Totals::default(), begun + PROGRESS_INTERVAL + PROGRESS_INTERVAL);
        assert!(matches!(client.unsent.back(), Some(OpenerToClient::Progress(_))));
    }
}
