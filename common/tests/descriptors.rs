//! What the receiving wrapper promises: every descriptor is owned and close-on-exec from the first moment,
//! and whatever is refused leaves none open.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Target};
use fdbroker_common::fdpass::{ReceiveError, receive, receive_plain, send};
use fdbroker_common::limits::DESCRIPTORS_PER_MESSAGE_MAX;
use fdbroker_common::wire::encode;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

fn pair() -> (UnixDatagram, UnixDatagram) {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    (ours.into(), theirs.into())
}

/// Files of a kind that nothing else in this process opens, and how many of them are open.
struct Marked(File);

impl Marked {
    fn new(name: &str) -> Self {
        let name = std::ffi::CString::new(name).unwrap();
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        Self(nix::sys::memfd::memfd_create(name.as_c_str(), flags).unwrap().into())
    }

    fn open(&self) -> usize {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.0.as_raw_fd())).unwrap();
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|other| *other == path)
            .count()
    }

    fn many(&self, count: usize) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd(); count]
    }
}

#[test]
fn a_received_descriptor_is_the_file_and_closes_on_exec() {
    let (ours, theirs) = pair();
    let mut file = Marked::new("passed-once");
    file.0.write_all(b"seen").unwrap();
    send(&ours, b"x", &file.many(1)).unwrap();
    let packet = receive(&theirs, &mut [0; 8]).unwrap();
    assert_eq!((packet.length, packet.descriptors.len()), (1, 1));
    let flags = fcntl(&packet.descriptors[0], FcntlArg::F_GETFD).unwrap();
    assert!(FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC));
    let mut buffer = [0; 4];
    nix::sys::uio::pread(&packet.descriptors[0], &mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"seen");
    drop(packet);
    assert_eq!(file.open(), 1);
}

#[test]
fn as_many_arrive_as_the_kernel_passes() {
    let (ours, theirs) = pair();
    let file = Marked::new("passed-many");
    send(&ours, b"x", &file.many(DESCRIPTORS_PER_MESSAGE_MAX)).unwrap();
    let packet = receive(&theirs, &mut [0; 8]).unwrap();
    assert_eq!(packet.descriptors.len(), DESCRIPTORS_PER_MESSAGE_MAX);
    assert!(send(&ours, b"x", &file.many(DESCRIPTORS_PER_MESSAGE_MAX + 1)).is_err());
    assert!(send(&ours, b"", &file.many(1)).is_err(), "could not be told from the end");
}

#[test]
fn truncated_data_is_refused_with_all_that_came_along() {
    let (ours, theirs) = pair();
    let file = Marked::new("cut-off");
    send(&ours, b"too long", &file.many(3)).unwrap();
    assert!(matches!(receive(&theirs, &mut [0; 4]), Err(ReceiveError::DataTruncated)));
    assert_eq!(file.open(), 1);
    send(&ours, b"too long", &[]).unwrap();
    assert!(matches!(receive_plain(&theirs, &mut [0; 4]), Err(ReceiveError::DataTruncated)));
}

#[test]
fn who_expects_no_descriptors_keeps_none() {
    let (ours, theirs) = pair();
    let file = Marked::new("not-wanted");
    for count in [1, 2, DESCRIPTORS_PER_MESSAGE_MAX] {
        send(&ours, b"x", &file.many(count)).unwrap();
        assert_eq!(receive_plain(&theirs, &mut [0; 8]).unwrap(), 1);
        assert_eq!(file.open(), 1);
    }
}

#[test]
fn a_message_with_the_wrong_number_is_refused_and_closed() {
    let (ours, theirs) = pair();
    let mut opener =
        Channel::<OpenerToClient, ClientToOpener>::adopt(OwnedFd::from(theirs)).unwrap();
    let file = Marked::new("miscounted");
    let targets = ClientToOpener::Targets(vec![Target { id: 1, name: Vec::new().into() }]);
    for (message, count) in [(&targets, 0), (&targets, 2), (&ClientToOpener::End, 1)] {
        let mut bytes = Vec::new();
        encode(message, &mut bytes).unwrap();
        send(&ours, &bytes, &file.many(count)).unwrap();
        assert!(matches!(opener.receive(), Err(ChannelError::Descriptors(_))), "{count}");
        assert_eq!(file.open(), 1);
    }
    send(&ours, b"\x01\x11\xff", &file.many(5)).unwrap();
    assert!(matches!(opener.receive(), Err(ChannelError::Wire(_))));
    assert_eq!(file.open(), 1);
}

#[test]
fn only_a_sequential_packet_socket_becomes_a_channel() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(Channel::<OpenerToClient, ClientToOpener>::adopt(stream.into()).is_err());
    let file = File::open("/dev/null").unwrap();
    assert!(Channel::<OpenerToClient, ClientToOpener>::adopt(file.into()).is_err());
}

#[test]
fn what_the_peer_said_before_it_closed_on_us_is_still_heard() {
    let (ours, theirs) = pair();
    send(&ours, b"unread", &[]).unwrap();
    send(&theirs, b"last words", &[]).unwrap();
    drop(theirs);
    let mut buffer = [0; 16];
    let packet = receive(&ours, &mut buffer).unwrap();
    assert_eq!(&buffer[..packet.length], b"last words");
    assert_eq!(receive(&ours, &mut buffer).unwrap().length, 0, "then the end");
}
