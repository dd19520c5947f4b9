//! A role gets its one connection as standard input.
//!
//! Runs first in every role that another process of ours starts (opener, launcher, template). The
//! descriptor leaves number 0 at once, so that no later child inherits the link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::channel::Channel;
use crate::wire::Message;

/// Takes the connection that stands on standard input and puts /dev/null in its place.
///
/// # Errors
/// `InvalidInput` when standard input is no `SOCK_SEQPACKET` socket.
pub fn take_channel<Tx: Message, Rx: Message>() -> io::Result<Channel<Tx, Rx>> {
    Channel::adopt(take_stdin()?)
}

/// Takes whatever stands on standard input and puts /dev/null in its place.
///
/// # Errors
/// As open(2) and dup2(2).
pub fn take_stdin() -> io::Result<OwnedFd> {
    let null = File::open("/dev/null")?;
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(null)?;
    Ok(taken)
}
