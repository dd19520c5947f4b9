//! Targets to messages: batches by count and bytes, rounds by count and names.
//!
//! Runs in the user's process and touches no socket. It takes a target only when there is room for
//! it, so that at most one message's worth of descriptors is open.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::Poll;

use super::error::ClientError;
use super::event::{Event, Report};
use super::round::Round;
use super::target::{Target, TargetSource, join};
use crate::client_link::{ClientToOpener, Target as WireTarget};
use crate::limits::{MESSAGE_BYTES_MAX, TARGETS_PER_MESSAGE_MAX};
use crate::outcome::Outcome;
use crate::totals::Totals;

/// Bound for the bytes around a name in a message, and around all of them.
const TARGET_OVERHEAD_BYTES: usize = 16;

/// A message with its descriptors.
pub(super) type Outgoing = (ClientToOpener, Vec<OwnedFd>);

/// What [`Feed::next`] came to.
pub(super) enum Fed {
    /// A message to be sent.
    Message(Outgoing),
    /// Only reports on targets that nobody can open, or nothing yet.
    Nothing,
}

/// The way of targets from their source into messages.
pub(super) struct Feed<S> {
    pub(super) source: S,
    ended: bool,
    pending: bool,
    /// Taken from the source, with its position, but without room in the message or round at hand.
    held: Option<(u64, Vec<u8>, OwnedFd)>,
    taken: u64,
    targets: Vec<WireTarget>,
    descriptors: Vec<OwnedFd>,
    name_bytes: usize,
    /// Outcomes of the targets that never reach the opener.
    pub(super) decided: Totals,
}

impl<S: TargetSource> Feed<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            ended: false,
            pending: false,
            held: None,
            taken: 0,
            targets: Vec::new(),
            descriptors: Vec::new(),
            name_bytes: 0,
            decided: Totals::default(),
        }
    }

    /// Whether there is no target left for a further round.
    pub(super) fn is_empty(&self) -> bool {
        self.ended && self.held.is_none()
    }

    /// What to wait for when the source had nothing; `None` when it is not the source's turn.
    pub(super) fn awaited(&self) -> Option<Option<BorrowedFd<'_>>> {
        self.pending.then(|| self.source.descriptor())
    }

    /// Makes the next message of the round and marks the round as ended with its last one. Puts
    /// reports on targets that could not be opened into `ready`.
    pub(super) fn next(
        &mut self,
        round: &mut Round,
        ready: &mut impl Extend<Event>,
    ) -> Result<Fed, ClientError> {
        self.pending = false;
        let mut decided = 0;
        self.unhold(round)?;
        while self.held.is_none() && !self.ended && !self.pending {
            match self.source.next_target() {
                Poll::Ready(Some(target)) => {
                    if let Some(report) = self.take(target) {
                        ready.extend([Event::Report(report)]);
                        decided += 1;
                    }
                    self.unhold(round)?;
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => self.pending = true,
            }
            if decided >= TARGETS_PER_MESSAGE_MAX {
                return Ok(Fed::Nothing);
            }
        }
        if !self.targets.is_empty() {
            self.name_bytes = 0;
            let targets = std::mem::take(&mut self.targets);
            let descriptors = std::mem::take(&mut self.descriptors);
            return Ok(Fed::Message((ClientToOpener::Targets(targets), descriptors)));
        }
        if self.pending {
            return Ok(Fed::Nothing);
        }
        // Either the source has ended or the round has no room for the held target.
        round.ended = true;
        Ok(Fed::Message((ClientToOpener::End, Vec::new())))
    }

    /// Holds a target, or gives its report back if its outcome is known.
    fn take(&mut self, target: Target) -> Option<Report> {
        let position = self.taken;
        self.taken = self.taken.saturating_add(1);
        let (name, subject) = target.into_parts();
        match subject {
            Ok(descriptor) => {
                self.held = Some((position, name, descriptor));
                None
            }
            Err(outcome) => Some(self.decide(position, &name, outcome)),
        }
    }

    fn decide(&mut self, position: u64, name: &[u8], outcome: Outcome) -> Report {
        self.decided.add(&outcome, 0);
        Report { target: position, path: join(name, &[]), size: 0, outcome }
    }

    /// Moves the held target into the batch if batch and round have room.
    fn unhold(&mut self, round: &mut Round) -> Result<(), ClientError> {
        let Some((position, name, descriptor)) = self.held.take() else {
            return Ok(());
        };
        let bytes = name.len().saturating_add(TARGET_OVERHEAD_BYTES);
        let filled = self.name_bytes.saturating_add(bytes);
        let fits = self.targets.len() < TARGETS_PER_MESSAGE_MAX
            && filled.saturating_add(TARGET_OVERHEAD_BYTES) <= MESSAGE_BYTES_MAX;
        if !fits || round.is_full() {
            self.held = Some((position, name, descriptor));
            return Ok(());
        }
        let id = round.add(position, &name)?;
        self.name_bytes = filled;
        self.descriptors.push(descriptor);
        self.targets.push(WireTarget { id, name: name.into() });
        Ok(())
    }
}

impl<S> fmt::Debug for Feed<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Feed")
            .field("taken", &self.taken)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PATH_BYTES_MAX;

    fn target(name: Vec<u8>) -> Target {
        let null = std::fs::File::open("/dev/null").unwrap();
        Target::from_descriptor(null.into(), name)
    }

    /// Sizes of the messages of each round.
    fn rounds(source: impl Iterator<Item = Target>) -> Vec<Vec<usize>> {
        let mut feed = Feed::new(source);
        let mut rounds = Vec::new();
        loop {
            let (mut round, mut sizes) = (Round::new(false), Vec::new());
            while let Fed::Message((message, descriptors)) =
                feed.next(&mut round, &mut Vec::new()).unwrap()
            {
                let mut bytes = Vec::new();
                crate::wire::encode(&message, &mut bytes).unwrap();
                match message {
                    ClientToOpener::Targets(_) => sizes.push(descriptors.len()),
                    _ => break,
                }
            }
            rounds.push(sizes);
            if feed.is_empty() {
                return rounds;
            }
        }
    }

    #[test]
    fn messages_are_cut_by_count() {
        let names = (0..130).map(|n| target(format!("{n}").into_bytes()));
        assert_eq!(rounds(names), [[64, 64, 2]]);
    }

    #[test]
    fn messages_are_cut_by_bytes() {
        let long = (0..3).map(|_| target(vec![b'x'; PATH_BYTES_MAX]));
        assert_eq!(rounds(long), [[1, 1, 1]]);
    }

    #[test]
    fn a_long_list_becomes_several_rounds() {
        let sizes = rounds((0..70_000).map(|_| target(b"x".to_vec())));
        let each: Vec<usize> = sizes.iter().map(|round| round.iter().sum()).collect();
        assert_eq!(each, [32_768, 32_768, 4_464]);
    }

    #[test]
    fn nothing_at_all_is_one_empty_round() {
        assert_eq!(rounds(std::iter::empty()), [[0usize; 0]]);
    }

    #[test]
    fn a_name_too_long_for_a_message_is_an_error_of_that_target() {
        let mut feed = Feed::new(std::iter::once(target(vec![b'x'; PATH_BYTES_MAX + 1])));
        let mut ready = Vec::new();
        let fed = feed.next(&mut Round::new(false), &mut ready).unwrap();
        assert!(matches!(fed, Fed::Message((ClientToOpener::End, _))));
        assert_eq!((ready.len(), feed.decided.errors), (1, 1));
    }
}
