//! What the session waits for: one poll(2) over its links, and until when.
//!
//! Runs in the opener, single-threaded.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use fdbroker_common::channel::ChannelError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::reports::Client;
use super::scan::Scan;
use super::session::{Gone, Session};

/// What poll(2) found.
pub(super) struct Ready {
    pub(super) broker: PollFlags,
    pub(super) dispatcher: PollFlags,
    /// Leases of the workers that have said something.
    pub(super) workers: Vec<u32>,
    pub(super) client: PollFlags,
}

impl Session {
    pub(super) fn poll(&self, now: Instant) -> Result<Ready, Gone> {
        let watched: Vec<(u32, BorrowedFd<'_>)> =
            self.workers.iter().filter_map(|worker| Some((worker.lease, worker.fd()?))).collect();
        let mut telling = PollFlags::POLLIN;
        telling.set(PollFlags::POLLOUT, !self.untold.is_empty());
        let mut fds = vec![
            PollFd::new(self.broker.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.dispatcher.as_fd(), telling),
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
