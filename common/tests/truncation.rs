//! A receiver at its limit of open descriptors. A test program of its own, because the limit is the whole
//! process's.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;

use fdbroker_common::fdpass::{ReceiveError, receive, send};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn what_the_kernel_could_not_deliver_is_noticed_and_the_rest_is_closed() {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (ours, theirs) = (UnixDatagram::from(ours), UnixDatagram::from(theirs));
    let file = File::open("/dev/null").unwrap();
    let before = open_descriptors();
    send(&ours, b"x", &[file.as_fd(); 5]).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The lowest free numbers are above this one: room for two.
    let full = u64::try_from(file.as_raw_fd()).unwrap() + 3;
    setrlimit(Resource::RLIMIT_NOFILE, full, hard).unwrap();
    let received = receive(&theirs, &mut [0; 8]);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(matches!(received, Err(ReceiveError::DescriptorsTruncated)), "{received:?}");
    assert_eq!(open_descriptors(), before);
    send(&ours, b"x", &[file.as_fd(); 5]).unwrap();
    assert_eq!(receive(&theirs, &mut [0; 8]).unwrap().descriptors.len(), 5);
}
