//! Sleeps until any one of several sockets is ready (poll(2)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Returns once at least one descriptor is ready for what is listed beside it.
pub fn until_ready(interests: &[(BorrowedFd<'_>, PollFlags)]) -> nix::Result<()> {
    let mut descriptors: Vec<PollFd<'_>> =
        interests.iter().map(|(descriptor, flags)| PollFd::new(*descriptor, *flags)).collect();
    loop {
        match poll(&mut descriptors, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}
