//! What the session waits for: one poll(2) over its links, and until when.
//!
//! Runs in the opener, single-threaded.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fdbroker_common::channel::ChannelError;
use fdbroker_common::eagerness::Eagerness;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fleet::Worker;
use super::patience::Owes;
use super::reports::Client;
use super::scan::Scan;
use super::session::{Gone, Session};

/// What poll(2) found.
pub(super) struct Ready {
    pub(super) broker: PollFlags,
    pub(super) dispatcher: PollFlags,
    pub(super) auditor: PollFlags,
    /// Leases of the workers that have said something.
    pub(super) workers: Vec<u32>,
    pub(super) client: PollFlags,
}

/// So few files may be answered soon.
const FEW_FILES: usize = 4;

/// Whoever waits for these has nothing else to do, and is waited for.
pub(super) const fn eagerness() -> Eagerness {
    Eagerness::new(Duration::from_micros(60), 16)
}

impl Session {
    pub(super) fn files_in_hand(&self) -> usize {
        self.workers.iter().map(Worker::in_hand).sum()
    }

    /// Whether nothing is to be done but to wait for answers that cannot take long.
    fn waits_for_few(&self) -> bool {
        !self.may_open() && (1..=FEW_FILES).contains(&self.files_in_hand())
    }

    /// Whether the next answers are looked for before this process goes to sleep.
    pub(super) fn expects_answers_soon(&self) -> bool {
        self.eagerness.is_hopeful() && self.waits_for_few()
    }

    /// Looks for answers for a moment, if that may be of use. `None`: there are none yet.
    pub(super) fn look(&self) -> Result<Option<Ready>, Gone> {
        if !self.expects_answers_soon() {
            return Ok(None);
        }
        let now = |fds: &mut [PollFd<'_>]| match poll(fds, PollTimeout::ZERO) {
            Ok(0) => None,
            found => Some(found),
        };
        let (count, ready) = self.watch(|fds| self.eagerness.look(|| now(fds)).unwrap_or(Ok(0)))?;
        Ok((count > 0).then_some(ready))
    }

    /// Goes to sleep until there is something to do.
    pub(super) fn sleep(&self, now: Instant) -> Result<Ready, Gone> {
        if self.waits_for_few() {
            self.eagerness.sleeps();
        }
        Ok(self.watch(|fds| poll(fds, self.timeout(now)))?.1)
    }

    fn watch(
        &self,
        poll: impl FnOnce(&mut [PollFd<'_>]) -> nix::Result<i32>,
    ) -> Result<(i32, Ready), Gone> {
        let watched: Vec<(u32, BorrowedFd<'_>)> =
            self.workers.iter().filter_map(|worker| Some((worker.lease, worker.fd()?))).collect();
        let mut telling = PollFlags::POLLIN;
        telling.set(PollFlags::POLLOUT, !self.untold.is_empty());
        let mut fds = vec![
            PollFd::new(self.broker.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.dispatcher.as_fd(), telling),
        ];
        let auditor = self.recorder.waits_for();
        fds.extend(auditor.iter().map(|(fd, events)| PollFd::new(*fd, *events)));
        fds.extend(watched.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        if let Some(client) = &self.client {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, self.hears_client());
            events.set(PollFlags::POLLOUT, !client.keeps_up());
            fds.push(PollFd::new(client.fd(), events));
        }
        let count = match poll(&mut fds) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(error) => return Err(Gone::Link(ChannelError::Io(error.into()))),
        };
        let mut events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let (broker, dispatcher) = (next(), next());
        let auditor = if auditor.is_some() { next() } else { PollFlags::empty() };
        let speaks = |(lease, _): &(u32, _)| (!next().is_empty()).then_some(*lease);
        let workers = watched.iter().filter_map(speaks).collect();
        let client = events.next().unwrap_or(PollFlags::empty());
        Ok((count, Ready { broker, dispatcher, auditor, workers, client }))
    }

    /// What the client is to do before anything goes on.
    pub(super) fn owes(&self) -> Owes {
        let at_work = || !self.workers.iter().all(Worker::is_idle);
        match (&self.client, &self.scan) {
            (None, _) => Owes::Nothing,
            (Some(client), _) if !client.keeps_up() => Owes::Reading,
            (Some(_), _) if !self.recorder.keeps_up() => Owes::Nothing,
            (Some(_), Some(scan)) if !scan.awaits_word() || at_work() => Owes::Nothing,
            (Some(_), _) => Owes::Word,
        }
    }

    /// Whether the client is heard. Not while the auditor is slow: every scan that begins is noted.
    pub(super) fn hears_client(&self) -> bool {
        self.recorder.keeps_up() && self.scan.as_ref().is_none_or(Scan::wants_targets)
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        if self.may_open() {
            return PollTimeout::ZERO;
        }
        let per_file = self.scan.as_ref().map(Scan::file_deadline);
        let deadlines = self.workers.iter().filter_map(|worker| worker.deadline(per_file?));
        let client = self.client.as_ref();
        let alive = client.filter(|_| self.accepted).and_then(Client::next_event);
        let silent = client.and_then(|client| client.patience.deadline());
        let next = deadlines.chain(alive).chain(silent).chain(self.retry_at).min();
        next.map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(now).as_millis().saturating_add(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        })
    }
}
