//! The only code that sends or receives descriptors (SCM_RIGHTS, unix(7)).
//!
//! Runs in every process. Sending is `sendfd`. Receiving is `rustix`: every received descriptor is
//! close-on-exec and owned before anything else looks at it, and truncated data or control data
//! is an error after which none of them stays open. No packet without bytes is ever sent, because
//! on `SOCK_SEQPACKET` it could not be told from the end of the connection.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recv, recvmsg,
};
use sendfd::SendWithFd;

use crate::limits::DESCRIPTORS_PER_MESSAGE_MAX;

/// Bytes and descriptors of one packet.
#[derive(Debug)]
pub struct Packet {
    /// How many bytes were written to the caller's buffer. 0: the peer has closed.
    pub length: usize,
    /// The descriptors, in the order in which they were sent.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a packet was refused. All its descriptors are closed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// recvmsg(2) failed; `WouldBlock` on a non-blocking socket without data.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The packet was longer than the buffer.
    #[error("packet longer than its limit")]
    DataTruncated,
    /// The kernel dropped descriptors: too many sent, or our descriptor table is full.
    #[error("descriptors lost in transit")]
    DescriptorsTruncated,
}

/// Sends one packet. `bytes` must not be empty.
///
/// # Errors
/// As sendmsg(2); `WouldBlock` when a non-blocking socket is full.
pub fn send(socket: &UnixDatagram, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_PER_MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = retry_interrupted(|| {
        if descriptors.is_empty() {
            return socket.send(bytes);
        }
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        socket.send_with_fd(bytes, &raw)
    })?;
    if sent == bytes.len() {
        Ok(())
    } else {
        // SOCK_SEQPACKET is all or nothing; anything else is not the socket we were built for.
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives one packet with its descriptors.
///
/// # Errors
/// See [`ReceiveError`].
pub fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> Result<Packet, ReceiveError> {
    let mut space =
        [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = receive_through_reset(|| {
        let mut parts = [IoSliceMut::new(buffer)];
        Ok(recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?)
    })?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveError::DescriptorsTruncated);
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(ReceiveError::DataTruncated);
    }
    Ok(Packet { length: message.bytes, descriptors })
}

/// Receives one packet and offers no room for descriptors: the kernel closes any that were sent.
///
/// # Errors
/// See [`ReceiveError`].
pub fn receive_plain(socket: &UnixDatagram, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
    let room = buffer.len();
    let length = receive_through_reset(|| {
        // TRUNC makes recv(2) tell the real length of a packet that was cut.
        Ok(recv(socket.as_fd(), &mut *buffer, RecvFlags::TRUNC)?.1)
    })?;
    if length > room {
        return Err(ReceiveError::DataTruncated);
    }
    Ok(length)
}

/// A peer that closed with our messages unread leaves `ECONNRESET`, once, in front of what it had
/// said before; the next call returns that, or the end.
fn receive_through_reset<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match retry_interrupted(&mut call) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => retry_interrupted(call),
        result => result,
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
