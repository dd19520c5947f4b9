//! A packet with descriptors, through the code that receives them.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient};
use fdbroker_common::fdpass;
use fdbroker_common::limits::{DESCRIPTORS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX};
use fdbroker_common::wire::{Message, decode};

/// A client sends a packet. The first byte says how many descriptors are with it, up to the most that
/// the kernel passes.
pub fn channel(data: &[u8]) {
    let Some((count, bytes)) = data.split_first() else {
        return;
    };
    let count = usize::from(*count).min(DESCRIPTORS_PER_MESSAGE_MAX);
    let bytes = bytes.get(..MESSAGE_BYTES_MAX).unwrap_or(bytes);
    let (mut link, client) =
        Channel::<OpenerToClient, ClientToOpener>::pair().expect("a socket pair");
    link.set_nonblocking(true).expect("fcntl");
    let client = UnixDatagram::from(client);
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let sent: Vec<BorrowedFd<'_>> = (0..count).map(|_| writer.as_fd()).collect();
    if fdpass::send(&client, bytes, &sent).is_err() {
        // Nothing to send, or the process has too many descriptors in flight.
        return;
    }
    drop(sent);
    drop(writer);
    match link.receive() {
        Ok((message, received)) => {
            assert_eq!(decode::<ClientToOpener>(bytes).as_ref(), Ok(&message));
            assert_eq!(received.len(), count);
            assert_eq!(received.len(), message.descriptors());
        }
        Err(ChannelError::Wire(error)) => {
            assert_eq!(decode::<ClientToOpener>(bytes), Err(error));
        }
        Err(ChannelError::Descriptors(_)) => {
            let wanted = decode::<ClientToOpener>(bytes).map(|message| message.descriptors());
            assert_ne!(wanted, Ok(count));
        }
        Err(error) => panic!("{error}"),
    }
    // The pipe has an end only when each of its writing ends is closed.
    drop(client);
    assert!(matches!(link.receive(), Err(ChannelError::Closed)));
    assert_eq!(reader.read(&mut [0]).expect("the end of the pipe"), 0);
}
