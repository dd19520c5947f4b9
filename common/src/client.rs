//! Client library: connect to a broker, hand over what is to be scanned, receive what became of it.
//!
//! Runs in `fdscan`, `fdbrokerctl` and any other program of a user, with that user's rights and no
//! others. It is the only part of this crate that opens paths or connects. It never judges a file
//! and never decides access: it passes descriptors and relates outcomes.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use fdbroker_common::client::{Client, Event, Target};
//! use fdbroker_common::client_link::ScanOptions;
//!
//! # fn main() -> Result<(), fdbroker_common::client::ClientError> {
//! let mut client = Client::connect(Path::new("/run/fdbroker"))?;
//! let targets = ["/etc/passwd", "/srv"].map(|path| Target::open(Path::new(path)));
//! let mut scan = client.scan(ScanOptions::default(), targets.into_iter());
//! for event in &mut scan {
//!     if let Event::Report(report) = event? {
//!         println!("{}: {}", report.path.display(), report.outcome.word());
//!     }
//! }
//! assert_eq!(scan.totals().exit_code(), 0);
//! # Ok(())
//! # }
//! ```

mod error;
mod event;
mod feed;
mod ledger;
mod resume;
mod round;
mod scan;
mod spool;
mod stop;
mod target;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

pub use error::ClientError;
pub use event::{Event, Report, Rules};
pub use resume::{Interruption, Reconnection};
pub use scan::Scan;
pub use spool::Spool;
pub use target::{Target, TargetSource};

use crate::channel::Channel;
use crate::client_link::{ClientToOpener, OpenerToClient, ScanOptions};
use crate::eagerness::Eagerness;
use crate::paths;

type Link = Channel<ClientToOpener, OpenerToClient>;

/// How long connect(2) may wait for room in a listener's queue.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// A connection to a broker. Any number of scans, one after the other.
#[derive(Debug)]
pub struct Client {
    /// `None` while a scan has it, and for ever after one that did not end well.
    link: Option<Link>,
    eagerness: Eagerness,
}

impl Client {
    /// Connects to the broker of a runtime directory.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] names the socket and what connect(2) said.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        Self::connect_socket(&runtime_dir.join(paths::CLIENT_SOCKET))
    }

    /// Connects to a broker for what it grants beyond what the user can read: targets must be those of
    /// [`Target::granted`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_granted(runtime_dir: &Path) -> Result<Self, ClientError> {
        Self::connect_socket(&runtime_dir.join(paths::GRANTED_SOCKET))
    }

    /// Connects to a client socket.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_socket(path: &Path) -> Result<Self, ClientError> {
        let descriptor = connect_seqpacket(path)
            .map_err(|source| ClientError::NoBroker { path: path.to_owned(), source })?;
        Self::from_connection(descriptor)
    }

    /// Takes an established connection, as that to a private broker.
    ///
    /// # Errors
    /// [`ClientError::Io`] when it is not a `SOCK_SEQPACKET` socket.
    pub fn from_connection(descriptor: OwnedFd) -> Result<Self, ClientError> {
        let link = Link::adopt(descriptor)?;
        link.set_nonblocking(true)?;
        Ok(Self { link: Some(link), eagerness: scan::eagerness() })
    }

    /// The user as whom the broker runs, by the kernel's word.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when there is no connection any more.
    pub fn broker_uid(&self) -> Result<u32, ClientError> {
        let link = self.link.as_ref().ok_or(ClientError::Lost)?;
        let peer = socket_peercred(link).map_err(io::Error::from)?;
        Ok(peer.uid.as_raw())
    }

    /// Begins a scan. Nothing is sent before the first call of [`Scan::next`]; dropping the scan
    /// before its end closes the connection, which cancels it.
    pub fn scan<S: TargetSource>(&mut self, options: ScanOptions, targets: S) -> Scan<'_, S> {
        Scan::new(self, options, targets)
    }
}

/// Connects to a listening `SOCK_SEQPACKET` socket.
///
/// # Errors
/// As connect(2); `TimedOut` when nobody accepts, `InvalidInput` when the path is too long for a
/// socket address.
pub fn connect_seqpacket(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path).map_err(|error| match error {
        rustix::io::Errno::NAMETOOLONG => {
            io::Error::new(io::ErrorKind::InvalidInput, "socket path longer than 107 bytes")
        }
        error => error.into(),
    })?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_WAIT))?;
    connect(&socket, &address).map_err(|error| match error {
        rustix::io::Errno::AGAIN => io::Error::new(
            io::ErrorKind::TimedOut,
            "nobody accepts connections there; is the broker stopped?",
        ),
        error => error.into(),
    })?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket)
}
