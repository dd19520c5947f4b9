//! Descriptors that a process was started with, by number.
//!
//! Runs in the configuration reader of fdbroker, or the broker of an ordinary user, before anything else is
//! opened there; never as root.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use sendfd::SendWithFd;

use crate::fdpass;

/// A duplicate, close-on-exec; the descriptor itself stays as it is. By way of a message to ourselves, since
/// a number alone says nothing of who owns it.
///
/// # Errors
/// `EBADF` when there is none of this number.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    let (to, from) = UnixDatagram::pair()?;
    to.send_with_fd(&[0], &[number])?;
    let packet = fdpass::receive(&from, &mut [0]).map_err(io::Error::other)?;
    packet.descriptors.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_duplicate_is_the_same_socket_and_not_inherited() {
        let (one, other) = UnixDatagram::pair().unwrap();
        let duplicate = duplicate(one.as_raw_fd()).unwrap();
        assert_ne!(duplicate.as_raw_fd(), one.as_raw_fd());
        let flags = rustix::io::fcntl_getfd(&duplicate).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        UnixDatagram::from(duplicate).send(b"said").unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 4);
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error() {
        let error = duplicate(1_000_000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
