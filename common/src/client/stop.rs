//! How whoever takes the events of a scan ends it from outside, as a signal does.
//!
//! Runs in the user's process. What was told until then stays told, and the counts stay true.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::scan::Scan;
use super::target::TargetSource;

impl<'c, S: TargetSource> Scan<'c, S> {
    /// Ends with [`ClientError::Stopped`] where it would wait, once this descriptor is readable or closed
    /// at its other end. A scan that has no need to wait goes on.
    ///
    /// [`ClientError::Stopped`]: super::ClientError::Stopped
    pub fn stopping(mut self, stop: BorrowedFd<'c>) -> Self {
        self.stop = Some(stop);
        self
    }
}

pub(super) fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut waited = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    poll(&mut waited, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
