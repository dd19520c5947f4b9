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

/// Many connections of one user, made by one process.
#[derive(Debug)]
pub struct Crowd {
    sockets: Vec<UnixDatagram>,
    /// Dropped before the keeper, which ends when this is closed.
    _link: UnixDatagram,
    _keeper: Keeper,
}

impl Crowd {
    /// Connects so many times.
    ///
    /// # Panics
    /// When that fails, or `run-as` cannot be started.
    #[must_use]
    pub fn open(caller: &Caller, socket: &Path, count: usize) -> Self {
        let (link, keeper) = run_as("connect", caller, socket, &[count.to_string()]);
        let socket = |_| {
            let mut answer = [0; 4];
            let packet = fdpass::receive(&link, &mut answer).expect("run-as answers");
            let errno = i32::from_ne_bytes(answer);
            packet.descriptors.into_iter().next().unwrap_or_else(|| panic!("errno {errno}")).into()
        };
        Self { sockets: (0..count).map(socket).collect(), _link: link, _keeper: keeper }
    }

    /// The sockets.
    #[must_use]
    pub fn sockets(&self) -> &[UnixDatagram] {
        &self.sockets
    }
}

/// As many descriptors in flight as the kernel lets a user have; none of them is ever received.
#[derive(Debug)]
pub struct InFlight {
    _link: UnixDatagram,
    _keeper: Keeper,
    /// What the kernel said to the next one.
    pub errno: i32,
}

impl InFlight {
    /// Sends them.
    ///
    /// # Panics
    /// When `run-as` cannot be started, or meets no limit.
    #[must_use]
    pub fn fill(caller: &Caller, file: &Path) -> Self {
        let (link, keeper) = run_as("fill", caller, file, &[]);
        let mut answer = [0; 4];
        let length = fdpass::receive_plain(&link, &mut answer).expect("run-as answers");
        assert_eq!(length, 4, "run-as met no limit");
        Self { _link: link, _keeper: keeper, errno: i32::from_ne_bytes(answer) }
    }
}

/// Starts `run-as`, which ends when its link is closed.
fn run_as(
    verb: &str,
    caller: &Caller,
    path: &Path,
    arguments: &[String],
) -> (UnixDatagram, Keeper) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
    let (ours, theirs) = pair.expect("socketpair");
    let mut command = Command::new(executable("run-as"));
    command.arg(verb).args(caller.arguments()).arg(path).args(arguments);
    command.stdin(Stdio::from(theirs)).current_dir("/").env_clear();
    let keeper = Keeper(command.spawn().expect("run-as starts"));
    (ours.into(), keeper)
}
