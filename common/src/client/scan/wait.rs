//! How a scan waits: for the peer, for the source, or for room to send.
//!
//! Runs in the user's process, as all of the client library.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Scan;
use crate::client::error::ClientError;
use crate::client::stop::is_readable;
use crate::client::target::TargetSource;
use crate::eagerness::Eagerness;
use crate::limits::{OPENER_SILENCE_MAX, SCANNER_WAIT, TEMPLATE_START, WAITING_INTERVAL};

/// Pause where there is nothing to poll: the kernel takes no more descriptors although the socket
/// has room, or the source is not ready and has no descriptor.
const PAUSE: Duration = Duration::from_millis(10);

/// A scan of one small file has this many messages: accepted, reports, done.
const FEW_MESSAGES: u32 = 3;

/// One small file over a connection that has an opener and a worker takes less than this.
pub(in crate::client) const fn eagerness() -> Eagerness {
    Eagerness::new(Duration::from_micros(150), 16)
}

impl<S: TargetSource> Scan<'_, S> {
    /// Looks for an answer for a moment, if one may come soon: all has been asked, and little was said yet.
    fn look(&self) -> bool {
        let Some(link) = self
            .link
            .as_ref()
            .filter(|_| self.messages < FEW_MESSAGES && self.feed.awaited().is_none())
        else {
            return false;
        };
        let eagerness = &self.client.eagerness;
        if !eagerness.is_hopeful() {
            eagerness.sleeps();
            return false;
        }
        eagerness.look(|| is_readable(link.as_fd()).then_some(())).is_some()
    }

    /// Time until we must say that we wait for the source.
    pub(super) fn until_waiting(&self) -> Duration {
        WAITING_INTERVAL.saturating_sub(self.said.elapsed())
    }

    /// Waits until the peer or the source has something, or there is room to send.
    pub(super) fn wait(&mut self) -> Result<(), ClientError> {
        let blocked = self.outgoing.is_some() && !self.peer_left;
        if !blocked && self.look() {
            return Ok(());
        }
        let mut timeout = self.patience_left()?;
        let mut wanted = PollFlags::IN;
        if self.congested {
            timeout = timeout.min(PAUSE);
        } else if blocked {
            wanted |= PollFlags::OUT;
        }
        let link = self.link.as_ref().ok_or(ClientError::Lost)?;
        let mut waited = vec![PollFd::new(link, wanted)];
        if !blocked && self.feed.awaited().is_some() {
            timeout = timeout.min(self.until_waiting());
        }
        match self.feed.awaited().filter(|_| !blocked) {
            Some(Some(source)) => waited.push(PollFd::from_borrowed_fd(source, PollFlags::IN)),
            Some(None) => timeout = timeout.min(PAUSE),
            None => {}
        }
        let stop = waited.len();
        waited.extend(self.stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
        let since = Instant::now();
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        match poll(&mut waited, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(ClientError::Io(error.into())),
        }
        if waited.get(stop).is_some_and(|stop| !stop.revents().is_empty()) {
            return Err(ClientError::Stopped);
        }
        let room = waited.first().is_some_and(|link| link.revents().contains(PollFlags::OUT));
        // Should sending fail although there is room, then descriptors in flight are the limit, and
        // the next wait is for time.
        self.congested = blocked && room;
        self.silent_for = self.silent_for.saturating_add(since.elapsed());
        Ok(())
    }

    /// How much longer the peer may be silent. Only time spent waiting counts.
    fn patience_left(&self) -> Result<Duration, ClientError> {
        let patience = if self.heard {
            OPENER_SILENCE_MAX
        } else {
            // Until an opener speaks, the connection may wait for one, or for rules to be compiled.
            TEMPLATE_START.saturating_add(SCANNER_WAIT)
        };
        match patience.saturating_sub(self.silent_for) {
            Duration::ZERO => Err(ClientError::Silent(patience.as_secs())),
            left => Ok(left),
        }
    }
}
