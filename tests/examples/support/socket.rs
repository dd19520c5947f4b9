//! Stream sockets by path, from the client's side: address and connect.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::exit::Result;

/// `sun_path` has 108 bytes and the last one is for the zero (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// The address for a path, if the path fits into one.
pub fn address(path: &Path) -> Result<UnixAddr> {
    let length = path.as_os_str().as_bytes().len();
    if length > PATH_BYTES_MAX {
        return Err(format!("the path has {length} bytes, a socket's at most 107").into());
    }
    Ok(UnixAddr::new(path)?)
}

/// A socket that is connected to whoever listens at the address.
pub fn connect_to(address: &UnixAddr, flags: SockFlag) -> nix::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    loop {
        match connect(stream.as_raw_fd(), address) {
            // Unlike on TCP, an interrupted connect of a Unix socket has done nothing.
            Err(Errno::EINTR) => {}
            result => return result.map(|()| stream),
        }
    }
}
