//! Targets to messages: batches by count and bytes, rounds by count and names.
//!
//! Runs in the user's process and touches no socket. It takes a target only when there is room for
//! it, so that at most one message's worth of descriptors is open.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::error::ClientError;
use super::event::{Event, Report};
use super::round::{Origin, Round};
use super::target::{Target, TargetSource, join};
use crate::client_link::{ClientToOpener, ScanOptions, Target as WireTarget};
use crate::limits::{MESSAGE_BYTES_MAX, TARGETS_PER_MESSAGE_MAX};
use crate::outcome::Outcome;
use crate::totals::Totals;

/// Bound for the bytes around a name in a message, and around all of them.
const TARGET_OVERHEAD_BYTES: usize = 16;

/// Most descriptors that are kept for the case that the scan begins again.
const KEPT_MAX: usize = 64;

/// A message with its descriptors.
pub(super) type Outgoing = (ClientToOpener, Vec<OwnedFd>);

/// The first message of a round. With links to be followed, the opener must know from which root
/// directory we would follow them.
pub(super) fn start(options: &ScanOptions) -> Outgoing {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = options.follow_links.then(|| openat(CWD, c"/", flags, Mode::empty()).ok());
    (ClientToOpener::Start(options.clone()), root.flatten().into_iter().collect())
}

/// What [`Feed::next`] came to.
pub(super) enum Fed {
    /// A message to be sent.
    Message(Outgoing),
    /// Only reports on targets that nobody can open, or nothing yet.
    Nothing,
}

/// A target for which there is no room in the message or round at hand.
struct Held {
    position: u64,
    name: Vec<u8>,
    descriptor: Option<OwnedFd>,
    origin: Origin,
}

/// The way of targets from their source into messages.
pub(super) struct Feed<S> {
    pub(super) source: S,
    ended: bool,
    pending: bool,
    held: Option<Held>,
    /// Targets of this round that are handed over once more, before any others.
    again: VecDeque<u32>,
    /// Whether targets are kept for that.
    keeps: bool,
    kept: usize,
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
            again: VecDeque::new(),
            keeps: false,
            kept: 0,
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

    /// From now on targets are kept as far as they cannot be had by their path.
    pub(super) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Begins a round anew with these targets of it.
    pub(super) fn begin_again(&mut self, again: VecDeque<u32>) {
        // What was on its way into a message is among them. What is held has no id yet, and stays.
        self.targets.clear();
        self.descriptors.clear();
        self.name_bytes = 0;
        self.again = again;
    }

    /// Whether there are targets that are handed over once more.
    pub(super) fn repeats(&self) -> bool {
        !self.again.is_empty()
    }

    /// Notes that a round is over, with all descriptors that were kept for it.
    pub(super) fn round_over(&mut self) {
        self.kept = 0;
    }

    /// Makes the next message of the round and marks the round as ended with its last one. Puts
    /// reports on targets that could not be opened into `ready`.
    pub(super) fn next(
        &mut self,
        round: &mut Round,
        ready: &mut impl Extend<Event>,
    ) -> Result<Fed, ClientError> {
        self.pending = false;
        let mut decided = self.repeat(round, ready);
        if self.again.is_empty() {
            self.unhold(round)?;
        }
        while self.held.is_none() && self.again.is_empty() && !self.ended && !self.pending {
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
            let message = match descriptors.is_empty() {
                true => ClientToOpener::PathTargets(targets),
                false => ClientToOpener::Targets(targets),
            };
            return Ok(Fed::Message((message, descriptors)));
        }
        if self.pending || !self.again.is_empty() {
            return Ok(Fed::Nothing);
        }
        // Either the source has ended or the round has no room for the held target.
        round.ended = true;
        Ok(Fed::Message((ClientToOpener::End, Vec::new())))
    }

    /// Hands targets of this round over once more, as many as a message has room for. Tells how many
    /// cannot be opened any more.
    fn repeat(&mut self, round: &mut Round, ready: &mut impl Extend<Event>) -> usize {
        let mut decided = 0;
        while decided < TARGETS_PER_MESSAGE_MAX
            && self.targets.len() < TARGETS_PER_MESSAGE_MAX
            && let Some(id) = self.again.pop_front()
        {
            match round.reopen(id) {
                Ok((name, descriptor)) if !self.has_room(name.len(), descriptor.is_some()) => {
                    self.again.push_front(id);
                    break;
                }
                Ok((name, descriptor)) => self.pack(id, name, descriptor),
                Err(report) => {
                    ready.extend(report.map(Event::Report));
                    decided += 1;
                }
            }
        }
        decided
    }

    /// Holds a target, or gives its report back if its outcome is known.
    fn take(&mut self, target: Target) -> Option<Report> {
        let position = self.taken;
        self.taken = self.taken.saturating_add(1);
        let by_path = target.is_by_path();
        let (name, subject) = target.into_parts();
        match subject {
            Ok(descriptor) => {
                let origin = match &descriptor {
                    None => Origin::Named,
                    Some(_) if by_path => Origin::Path,
                    Some(descriptor) => self.kept(descriptor),
                };
                self.held = Some(Held { position, name, descriptor, origin });
                None
            }
            Err(outcome) => Some(self.decide(position, &name, outcome)),
        }
    }

    /// A duplicate of a descriptor, as long as there are few.
    fn kept(&mut self, descriptor: &OwnedFd) -> Origin {
        if !self.keeps || self.kept >= KEPT_MAX {
            return Origin::Gone;
        }
        self.kept = self.kept.saturating_add(1);
        descriptor.try_clone().map_or(Origin::Gone, Origin::Kept)
    }

    fn decide(&mut self, position: u64, name: &[u8], outcome: Outcome) -> Report {
        self.decided.add(&outcome, 0);
        Report { target: position, path: join(name, &[]), size: 0, outcome, details: None }
    }

    /// Whether the message at hand has room for a target with a name of so many bytes, with or without a
    /// descriptor as all others in it.
    fn has_room(&self, name_bytes: usize, has_descriptor: bool) -> bool {
        let filled = self.name_bytes.saturating_add(name_bytes);
        let same_kind = self.targets.is_empty() || self.descriptors.is_empty() != has_descriptor;
        same_kind
            && self.targets.len() < TARGETS_PER_MESSAGE_MAX
            && filled.saturating_add(2 * TARGET_OVERHEAD_BYTES) <= MESSAGE_BYTES_MAX
    }

    /// Moves the held target into the batch if batch and round have room.
    fn unhold(&mut self, round: &mut Round) -> Result<(), ClientError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if !self.has_room(held.name.len(), held.descriptor.is_some()) || round.is_full() {
            self.held = Some(held);
            return Ok(());
        }
        let Held { position, name, descriptor, origin } = held;
        let id = round.add(position, &name, origin)?;
        self.pack(id, name, descriptor);
        Ok(())
    }

    fn pack(&mut self, id: u32, name: Vec<u8>, descriptor: Option<OwnedFd>) {
        let bytes = name.len().saturating_add(TARGET_OVERHEAD_BYTES);
        self.name_bytes = self.name_bytes.saturating_add(bytes);
        self.descriptors.extend(descriptor);
        self.targets.push(WireTarget { id, name: name.into() });
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
    use std::path::Path;

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
            let (mut round, mut sizes) = (Round::new(false, false), Vec::new());
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
    fn targets_with_and_without_descriptor_never_share_a_message() {
        let named = || Target::granted(Path::new("/srv/x"));
        let described = || target(b"x".to_vec());
        let mut feed = Feed::new([named(), named(), described(), named()].into_iter());
        let (mut round, mut sizes) = (Round::new(false, false), Vec::new());
        while let Fed::Message((message, descriptors)) =
            feed.next(&mut round, &mut Vec::new()).unwrap()
        {
            match message {
                ClientToOpener::PathTargets(targets) => sizes.push((targets.len(), 0)),
                ClientToOpener::Targets(targets) => sizes.push((targets.len(), descriptors.len())),
                _ => break,
            }
        }
        assert_eq!(sizes, [(2, 0), (1, 1), (1, 0)]);
    }

    #[test]
    fn nothing_at_all_is_one_empty_round() {
        assert_eq!(rounds(std::iter::empty()), [[0usize; 0]]);
    }

    #[test]
    fn a_name_too_long_for_a_message_is_an_error_of_that_target() {
        let mut feed = Feed::new(std::iter::once(target(vec![b'x'; PATH_BYTES_MAX + 1])));
        let mut ready = Vec::new();
        let fed = feed.next(&mut Round::new(false, false), &mut ready).unwrap();
        assert!(matches!(fed, Fed::Message((ClientToOpener::End, _))));
        assert_eq!((ready.len(), feed.decided.errors), (1, 1));
    }
}
