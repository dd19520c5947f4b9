//! What the session waits for: one poll(2) over its links, and until when.
//!
//! Runs in the opener, single-threaded.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fdbroker_common::channel::ChannelError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fleet::Worker;
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

/// A processor that has gone to sleep takes about as long to wake up as a small file takes to judge.
const SOON: Duration = Duration::from_micros(60);
/// So few files may be answered soon.
const FEW_FILES: usize = 4;
/// Waits that are not eager after one was in vain: a processor was of more use to somebody else.
const DISCOURAGED: u32 = 1000;

/// Looks for answers without going to sleep, for a moment, as long as that is of use.
#[derive(Debug, Default)]
pub(super) struct Eagerness {
    discouraged: Cell<u32>,
}

impl Eagerness {
    fn poll(&self, in_hand: usize, fds: &mut [PollFd<'_>]) -> nix::Result<i32> {
        if !(1..=FEW_FILES).contains(&in_hand) {
            return Ok(0);
        }
        if let Some(left) = self.discouraged.get().checked_sub(1) {
            self.discouraged.set(left);
            return Ok(0);
        }
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            match poll(fds, PollTimeout::ZERO) {
                Ok(0) => std::thread::yield_now(),
                found => return found,
            }
        }
        self.discouraged.set(DISCOURAGED);
        Ok(0)
    }
}

impl Session {
    pub(super) fn files_in_hand(&self) -> usize {
        self.workers.iter().map(Worker::in_hand).sum()
    }

    pub(super) fn poll(&self, now: Instant) -> Result<Ready, Gone> {
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
        let idle = !self.may_open();
        let mut found = self.eagerness.poll(if idle { self.files_in_hand() } else { 0 }, &mut fds);
        if found == Ok(0) {
            found = poll(&mut fds, self.timeout(now));
        }
        match found {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Gone::Link(ChannelError::Io(error.into()))),
        }
        let mut events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let (broker, dispatcher) = (next(), next());
        let auditor = if auditor.is_some() { next() } else { PollFlags::empty() };
        let speaks = |(lease, _): &(u32, _)| (!next().is_empty()).then_some(*lease);
        let workers = watched.iter().filter_map(speaks).collect();
        let client = events.next().unwrap_or(PollFlags::empty());
        Ok(Ready { broker, dispatcher, auditor, workers, client })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looked_in_vain_sleeps_for_a_while_and_then_looks_again() {
        let (silent, _kept) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut fds = [PollFd::new(silent.as_fd(), PollFlags::POLLIN)];
        let eagerness = Eagerness::default();
        assert_eq!(eagerness.poll(1, &mut fds), Ok(0));
        for left in (0..DISCOURAGED).rev() {
            assert_eq!(eagerness.poll(1, &mut fds), Ok(0));
            assert_eq!(eagerness.discouraged.get(), left, "it does not look");
        }
        let begun = Instant::now();
        assert_eq!(eagerness.poll(1, &mut fds), Ok(0));
        assert!(begun.elapsed() >= SOON, "it looks");
    }

    #[test]
    fn what_is_there_is_found_and_many_files_are_not_waited_for() {
        let (peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &peer, b"x").unwrap();
        let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        let eagerness = Eagerness::default();
        assert_eq!(eagerness.poll(FEW_FILES, &mut fds), Ok(1));
        assert_eq!(eagerness.poll(FEW_FILES + 1, &mut fds), Ok(0));
        assert_eq!(eagerness.poll(0, &mut fds), Ok(0));
    }
}
