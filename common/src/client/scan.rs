//! A scan in progress, as an iterator over what becomes of the files.
//!
//! Runs in the user's process, in one thread. The socket is non-blocking, and read after a few messages
//! at the latest, so that neither side can wait for the other. A peer that is silent, leaves, or says
//! what does not belong ends the scan with an error, never with "clean".

mod wait;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::event::{Event, Rules};
use super::feed::{Fed, Feed, Outgoing, start};
use super::resume::{Interruption, Reconnection, Resumption};
use super::round::Round;
use super::stop::is_readable;
use super::target::TargetSource;
use super::{Client, Link};
use crate::channel::ChannelError;
use crate::client_link::{ClientToOpener, OpenerToClient, ScanOptions};
use crate::totals::Totals;
pub(super) use wait::eagerness;

/// Steps that ask something before the peer is listened to.
const UNHEARD_MAX: u32 = 8;

/// A scan in progress. Ends after the first error.
#[derive(Debug)]
#[must_use = "a scan does nothing unless its events are taken"]
pub struct Scan<'c, S> {
    client: &'c mut Client,
    /// Taken from the client, and given back only after a good end.
    link: Option<Link>,
    options: ScanOptions,
    feed: Feed<S>,
    round: Round,
    outgoing: Option<Outgoing>,
    /// Sending failed; what the peer said before it left is still to be read.
    peer_left: bool,
    congested: bool,
    /// Steps that asked something since the peer was last listened to.
    unheard: u32,
    ready: VecDeque<Event>,
    /// Of the rounds that are done.
    totals: Totals,
    rules: Option<Rules>,
    heard: bool,
    /// Messages of the peer, up to a few.
    messages: u32,
    silent_for: Duration,
    /// When we said something last.
    said: Instant,
    finished: bool,
    failed: bool,
    resumption: Option<Resumption<'c>>,
    /// Readable once the scan is to end.
    pub(super) stop: Option<BorrowedFd<'c>>,
}

impl<'c, S: TargetSource> Scan<'c, S> {
    pub(super) fn new(client: &'c mut Client, options: ScanOptions, source: S) -> Self {
        let link = client.link.take();
        Self {
            client,
            link,
            feed: Feed::new(source),
            round: Round::new(options.omit_clean, false),
            outgoing: Some(start(&options)),
            options,
            peer_left: false,
            congested: false,
            unheard: 0,
            ready: VecDeque::new(),
            totals: Totals::default(),
            rules: None,
            heard: false,
            messages: 0,
            silent_for: Duration::ZERO,
            said: Instant::now(),
            finished: false,
            failed: false,
            resumption: None,
            stop: None,
        }
    }

    /// Goes on by itself when the connection is lost, or when it is refused for want of a scanner after
    /// it had begun: `connect` is asked again and again, for so long, until it has a connection.
    ///
    /// Targets that were not finished are handed over once more: those of [`Target::open`] are opened
    /// again by their path, others are kept, at most 64 of them at a time. What was told is not told
    /// again, except for a file that was told as something else and turns out to match.
    ///
    /// [`Target::open`]: super::Target::open
    pub fn resuming(
        mut self,
        patience: Duration,
        connect: impl FnMut(&Interruption<'_>) -> Reconnection + 'c,
    ) -> Self {
        self.resumption = Some(Resumption::new(patience, connect));
        self.feed.keep();
        self.round = Round::new(self.options.omit_clean, true);
        self
    }

    /// Counts so far; final once the scan is finished.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals;
        totals.merge(&self.feed.decided);
        totals.merge(&self.round.told());
        totals
    }

    /// The rules in force, once the scan has been accepted.
    #[must_use]
    pub fn rules(&self) -> Option<Rules> {
        self.rules
    }

    /// Whether every target has been dealt with. False for ever after an error.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether `next` has an event without asking the connection.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Where the targets come from.
    pub fn source(&self) -> &S {
        &self.feed.source
    }

    /// One step towards the next event. There is seldom an answer before all has been asked.
    fn step(&mut self) -> Result<(), ClientError> {
        if self.unheard < UNHEARD_MAX && (self.send()? || self.prepare()?) {
            self.unheard += 1;
            return Ok(());
        }
        let asked = std::mem::take(&mut self.unheard) > 0;
        if self.receive()? || asked {
            return Ok(());
        }
        self.wait()
    }

    fn advance(&mut self, really: bool) {
        if let (true, Some(resumption)) = (really, &mut self.resumption) {
            resumption.advance();
        }
    }

    /// The connection is of no use any more, and with it ends whatever the opener still does for it.
    /// Prepares to go on, or ends with the error.
    fn interrupt(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.link = None;
        let Some(resumption) = &mut self.resumption else {
            return Err(error);
        };
        let reason = error.to_string();
        resumption.interrupt(error)?;
        match self.round.rewind() {
            Ok(again) => self.feed.begin_again(again),
            Err(why) => return Err(ClientError::Unresumable(reason, why)),
        }
        self.outgoing = Some(start(&self.options));
        (self.peer_left, self.congested, self.heard) = (false, false, false);
        self.silent_for = Duration::ZERO;
        Ok(())
    }

    /// Gets on: by a step, or after an interruption by a new connection.
    fn proceed(&mut self) -> Result<(), ClientError> {
        match &mut self.resumption {
            Some(resumption) if self.link.is_none() && resumption.is_open() => {
                if self.stop.is_some_and(is_readable) {
                    return Err(ClientError::Stopped);
                }
                self.link = resumption.attempt()?.and_then(|mut client| client.link.take());
                self.ready.extend(resumption.news());
                Ok(())
            }
            _ => self.step().or_else(|error| self.interrupt(error)),
        }
    }

    fn link(&mut self) -> Result<&mut Link, ClientError> {
        self.link.as_mut().ok_or(ClientError::Lost)
    }

    /// Takes one message. False when there is none.
    fn receive(&mut self) -> Result<bool, ClientError> {
        let link = self.link()?;
        let received = match link.receive() {
            // A reset is told once, and before what the peer had sent earlier.
            Err(ChannelError::Closed) => link.receive(),
            result => result,
        };
        match received {
            Ok((message, _)) => {
                self.heard = true;
                self.messages = self.messages.saturating_add(1);
                self.silent_for = Duration::ZERO;
                self.understand(message)?;
                Ok(true)
            }
            Err(ChannelError::WouldBlock) if self.peer_left => Err(ClientError::Lost),
            Err(ChannelError::WouldBlock) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn understand(&mut self, message: OpenerToClient) -> Result<(), ClientError> {
        match message {
            OpenerToClient::Refused(refusal) => return Err(ClientError::Refused(refusal)),
            OpenerToClient::Accepted { generation, rules } => {
                let rules = Rules { generation, count: rules };
                self.round.accept();
                self.rules = Some(rules);
                if self.resumption.as_mut().is_some_and(Resumption::accept) {
                    self.ready.push_back(Event::Resumed);
                }
                self.ready.push_back(Event::Accepted(rules));
            }
            OpenerToClient::Reports(reports) => {
                for report in reports {
                    let report = self.round.report(report)?.map(Event::Report);
                    self.advance(report.is_some());
                    self.ready.extend(report);
                }
            }
            OpenerToClient::Detailed(_) if !self.options.details.is_any() => {
                return Err(ClientError::protocol("details that nobody asked for"));
            }
            OpenerToClient::Detailed(reports) => {
                for (report, details) in reports {
                    let report = self.round.report(report)?.map(|mut report| {
                        report.details = Some(Box::new(details));
                        Event::Report(report)
                    });
                    self.advance(report.is_some());
                    self.ready.extend(report);
                }
            }
            OpenerToClient::Progress(totals) => {
                let mut so_far = self.totals;
                so_far.merge(&self.feed.decided);
                let (most, is_more) = self.round.progress(&totals);
                self.advance(is_more);
                so_far.merge(&most);
                self.ready.push_back(Event::Progress(so_far));
            }
            OpenerToClient::Done(_) if self.outgoing.is_some() => {
                return Err(ClientError::protocol("done before everything was asked"));
            }
            OpenerToClient::Done(totals) => {
                let totals = self.round.done(&totals)?;
                self.totals.merge(&totals);
                self.advance(true);
                self.next_round();
            }
        }
        Ok(())
    }

    fn next_round(&mut self) {
        self.round = Round::new(self.options.omit_clean, self.resumption.is_some());
        self.feed.round_over();
        if self.feed.is_empty() {
            self.finished = true;
            self.client.link = self.link.take();
        } else {
            self.outgoing = Some(start(&self.options));
        }
    }

    /// Sends the message at hand. False when there is none, or no room for it.
    fn send(&mut self) -> Result<bool, ClientError> {
        let (Some((message, descriptors)), false) = (&self.outgoing, self.peer_left) else {
            return Ok(false);
        };
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let link = self.link.as_mut().ok_or(ClientError::Lost)?;
        match link.send(message, &borrowed) {
            Ok(()) => {
                self.outgoing = None;
                self.congested = false;
                self.said = Instant::now();
                Ok(true)
            }
            Err(ChannelError::WouldBlock) => Ok(false),
            Err(ChannelError::Closed) => {
                self.peer_left = true;
                Ok(true)
            }
            Err(ChannelError::Wire(error)) => Err(ClientError::Options(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the next message. False when there is nothing to be made now.
    fn prepare(&mut self) -> Result<bool, ClientError> {
        if self.outgoing.is_some() || self.round.ended || self.peer_left {
            return Ok(false);
        }
        match self.feed.next(&mut self.round, &mut self.ready)? {
            Fed::Message(message) => {
                self.outgoing = Some(message);
                Ok(true)
            }
            // Whoever feeds us may be slow; the opener is to know that we are there.
            Fed::Nothing if self.feed.awaited().is_some() && self.until_waiting().is_zero() => {
                self.outgoing = Some((ClientToOpener::Waiting, Vec::new()));
                Ok(true)
            }
            Fed::Nothing => Ok(self.has_ready() || self.feed.repeats()),
        }
    }
}

impl<S: TargetSource> Iterator for Scan<'_, S> {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.finished || self.failed {
                return None;
            }
            if let Err(error) = self.proceed() {
                self.link = None;
                self.failed = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
