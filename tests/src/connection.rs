//! A connection to a socket of the broker in the name of some user.
//!
//! `run-as` connects as that user and passes the connection to the test, which may then say on it
//! whatever it likes, with descriptors that the user could never have opened.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fdbroker_common::client::Client;
use fdbroker_common::fdpass;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::Caller;
use crate::program::executable;

/// A connection, and the process in whose name it was made: the broker asks whether that lives.
#[derive(Debug)]
pub struct Connection {
    socket: UnixDatagram,
    /// Dropped before the keeper, which ends when this is closed.
    _link: UnixDatagram,
    keeper: Keeper,
}

#[derive(Debug)]
struct Keeper(Child);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As connect(2).
    ///
    /// # Panics
    /// When `run-as` cannot be started.
    pub fn open(caller: &Caller, socket: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let mut command = Command::new(executable("run-as"));
        command.arg("connect").args(caller.arguments()).arg(socket);
        command.stdin(Stdio::from(theirs)).current_dir("/").env_clear();
        let keeper = Keeper(command.spawn().expect("run-as starts"));
        drop(command);
        let link = UnixDatagram::from(ours);
        let mut answer = [0; 4];
        let packet = fdpass::receive(&link, &mut answer).map_err(io::Error::other)?;
        match (packet.length, packet.descriptors.into_iter().next()) {
            (4, Some(socket)) => Ok(Self { socket: socket.into(), _link: link, keeper }),
            (4, None) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(answer))),
            _ => panic!("run-as did not answer"),
        }
    }

    /// The process that the broker takes for the client.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.keeper.0.id()
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// A client on this connection. It must not outlive the connection.
    ///
    /// # Panics
    /// When there are no descriptors left.
    #[must_use]
    pub fn client(&self) -> Client {
        let descriptor = self.as_fd().try_clone_to_owned().expect("dup");
        Client::from_connection(descriptor).expect("a connection")
    }

    /// Whatever the peer says next, at most until the receive timeout of the socket; empty at the end.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub fn hear(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut buffer = vec![0; fdbroker_common::limits::MESSAGE_BYTES_MAX];
        let packet = fdpass::receive(&self.socket, &mut buffer).map_err(io::Error::other)?;
        buffer.truncate(packet.length);
        Ok((buffer, packet.descriptors))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}
