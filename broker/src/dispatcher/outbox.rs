//! Messages to an opener that could not be sent yet.
//!
//! Runs in the dispatcher. An opener that does not read fills its socket; and the kernel bounds how many
//! descriptors the dispatcher may have in flight to all openers together, so that one of them may have to
//! wait for others to read. Neither is a reason to end an opener, until too much waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::lease_link::{DispatcherToOpener, OpenerToDispatcher};

/// An opener for which more messages wait does not listen.
const MESSAGES_MAX: usize = 64;

/// How long what could not be sent waits: no event tells that there is room for descriptors.
pub const RETRY: Duration = Duration::from_millis(20);

/// The dispatcher's end of a lease link, with what waits to be sent on it.
pub struct Outbox {
    channel: Channel<DispatcherToOpener, OpenerToDispatcher>,
    unsent: VecDeque<(DispatcherToOpener, Vec<Rc<OwnedFd>>)>,
}

impl Outbox {
    /// Takes a lease link.
    ///
    /// # Errors
    /// It is no connection.
    pub fn adopt(link: OwnedFd) -> std::io::Result<Self> {
        let channel = Channel::adopt(link)?;
        channel.set_nonblocking(true)?;
        Ok(Self { channel, unsent: VecDeque::new() })
    }

    /// Descriptor to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Whether something waits.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads one message.
    ///
    /// # Errors
    /// As [`Channel::receive`].
    pub fn receive(&mut self) -> Result<(OpenerToDispatcher, Vec<OwnedFd>), ChannelError> {
        self.channel.receive()
    }

    /// Sends a message now or, after those that wait, later.
    ///
    /// # Errors
    /// The opener has gone; `WouldBlock`: it does not listen.
    pub fn send(
        &mut self,
        message: DispatcherToOpener,
        descriptors: Vec<Rc<OwnedFd>>,
    ) -> Result<(), ChannelError> {
        if self.unsent.len() >= MESSAGES_MAX {
            return Err(ChannelError::WouldBlock);
        }
        self.unsent.push_back((message, descriptors));
        self.flush()
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Errors
    /// The opener has gone.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((message, descriptors)) = self.unsent.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            match self.channel.send(message, &borrowed) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Outbox, Channel<OpenerToDispatcher, DispatcherToOpener>) {
        let (opener, ours) = Channel::pair().unwrap();
        (Outbox::adopt(ours).unwrap(), opener)
    }

    #[test]
    fn what_a_slow_opener_does_not_take_waits_in_order() {
        let (mut outbox, mut opener) = pair();
        let mut sent = 0;
        while !outbox.has_unsent() {
            outbox.send(DispatcherToOpener::Recall { lease: sent }, Vec::new()).unwrap();
            sent += 1;
        }
        for _ in 0..10 {
            outbox.send(DispatcherToOpener::Recall { lease: sent }, Vec::new()).unwrap();
            sent += 1;
        }
        for heard in 0..sent {
            let message = opener.receive().unwrap().0;
            assert_eq!(message, DispatcherToOpener::Recall { lease: heard });
            outbox.flush().unwrap();
        }
        assert!(!outbox.has_unsent());
    }

    #[test]
    fn an_opener_that_never_listens_is_given_up() {
        let (mut outbox, _opener) = pair();
        let mut say = || outbox.send(DispatcherToOpener::NoScanner, Vec::new());
        let given_up = (0..10_000).find_map(|_| say().err());
        assert!(matches!(given_up, Some(ChannelError::WouldBlock)));
    }

    #[test]
    fn one_that_has_gone_is_known_to_have_gone() {
        let (mut outbox, opener) = pair();
        drop(opener);
        let error = outbox.send(DispatcherToOpener::NoScanner, Vec::new()).unwrap_err();
        assert!(matches!(error, ChannelError::Closed));
    }
}
