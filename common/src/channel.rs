//! One end of a link: a `SOCK_SEQPACKET` socket that speaks `Tx` and understands `Rx`, nothing else.
//!
//! Runs in every process. A message with more or fewer descriptors than its verb has is refused and
//! its descriptors are closed.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socketpair, sockopt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::fdpass::{self, Packet, ReceiveError};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::wire::{self, Message, WireError};

/// Why nothing was sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer has gone.
    #[error("the connection was closed")]
    Closed,
    /// Non-blocking socket: nothing to read, or no room to write; try again after poll(2).
    #[error("would block")]
    WouldBlock,
    /// The kernel refused.
    #[error(transparent)]
    Io(io::Error),
    /// The peer sent something that is not a message of this link, or we tried to.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The wrong number of descriptors.
    #[error("descriptors do not belong to the message: {0}")]
    Descriptors(&'static str),
    /// They came, and there was no room for them in our table. The message is lost with them.
    #[error("descriptors were lost, because the limit on open files is reached")]
    DescriptorsLost,
}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        // ETOOMANYREFS is the kernel's limit on descriptors in flight: back-pressure, not failure.
        if error.raw_os_error() == Some(nix::errno::Errno::ETOOMANYREFS as i32) {
            return Self::WouldBlock;
        }
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::WouldBlock,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// A typed end of a link.
#[derive(Debug)]
pub struct Channel<Tx, Rx> {
    socket: UnixDatagram,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    speaks: PhantomData<fn(Tx) -> Rx>,
}

impl<Tx: Message, Rx: Message> Channel<Tx, Rx> {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// `InvalidInput` when it is not of type `SOCK_SEQPACKET`.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let kind = getsockopt(&descriptor, sockopt::SockType)?;
        if kind != SockType::SeqPacket {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a SOCK_SEQPACKET socket"));
        }
        Ok(Self {
            // The standard library has no SEQPACKET type; a datagram's send and recv are the same calls.
            socket: UnixDatagram::from(descriptor),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            speaks: PhantomData,
        })
    }

    /// Makes a connected pair and keeps one end; the other is for another process.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self::adopt(ours)?, theirs))
    }

    /// Switches between waiting and `WouldBlock`.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        // fcntl(2), where the standard library takes ioctl(2), which no role of ours may call.
        let mut flags = fcntl_getfl(&self.socket)?;
        flags.set(OFlags::NONBLOCK, nonblocking);
        Ok(fcntl_setfl(&self.socket, flags)?)
    }

    /// Sends one message with its descriptors. They stay open here.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn send(
        &mut self,
        message: &Tx,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        if message.descriptors() != descriptors.len() {
            return Err(ChannelError::Descriptors("wrong number to send"));
        }
        wire::encode(message, &mut self.outgoing)?;
        Ok(fdpass::send(&self.socket, &self.outgoing, descriptors)?)
    }

    /// Receives one message with its descriptors.
    ///
    /// # Errors
    /// See [`ChannelError`]; whatever the error, no descriptor of the message stays open.
    pub fn receive(&mut self) -> Result<(Rx, Vec<OwnedFd>), ChannelError> {
        if self.incoming.is_empty() {
            // Fresh memory is zero already; most of it is never touched, and so never there.
            self.incoming = vec![0; MESSAGE_BYTES_MAX];
        }
        let packet = if Rx::DESCRIPTORS_MAX == 0 {
            fdpass::receive_plain(&self.socket, &mut self.incoming)
                .map(|length| Packet { length, descriptors: Vec::new() })
        } else {
            fdpass::receive(&self.socket, &mut self.incoming)
        };
        let packet = packet.map_err(|error| match error {
            ReceiveError::Io(error) => error.into(),
            ReceiveError::DataTruncated => ChannelError::Wire(WireError::TooLarge),
            ReceiveError::DescriptorsTruncated => ChannelError::DescriptorsLost,
        })?;
        if packet.length == 0 {
            return Err(ChannelError::Closed);
        }
        let bytes = self.incoming.get(..packet.length).unwrap_or_default();
        let message: Rx = wire::decode(bytes)?;
        if message.descriptors() != packet.descriptors.len() {
            return Err(ChannelError::Descriptors("wrong number received"));
        }
        Ok((message, packet.descriptors))
    }

    /// Gives the socket up, for handing it to another process.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.socket.into()
    }
}

impl<Tx, Rx> AsFd for Channel<Tx, Rx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
