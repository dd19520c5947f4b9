//! Where records go: a file, standard error or the journal. One record is one write.
//!
//! Opened before the fence stands; a file is opened by its name only then, never again. Nothing here
//! waits for who reads standard error or the journal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{UnixAddr, getpeername};

use super::format;
use super::record::Record;
use crate::auditor::plan::{AuditFormat as Format, AuditPlan, AuditTo as To};
use crate::root::log_file;
use std::os::fd::AsRawFd;

/// Where journald hears records in its own protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// What the standard error of a service is connected to.
const JOURNAL_STREAM: &str = "/run/systemd/journal/stdout";

/// What a pipe takes without waiting when poll(2) says that it takes something.
const PIPE_BUF: usize = libc::PIPE_BUF;

/// An open destination.
#[derive(Debug)]
pub enum Sink {
    /// A file of the administrator's, only to append to; whether the last line in it is not whole.
    File(File, bool),
    /// Standard error, by a descriptor of its own.
    Stderr(File),
    /// The journal, connected.
    Journal(UnixDatagram),
}

impl Sink {
    /// Opens what the administrator named.
    ///
    /// # Errors
    /// One line that names it.
    pub fn open(plan: &AuditPlan) -> Result<Self, String> {
        match &plan.to {
            To::File(path) => log_file::open(Path::new(path))
                .map(|file| {
                    let torn = ends_torn(&file).unwrap_or(true);
                    Self::File(file, torn)
                })
                .map_err(|error| format!("{}: {error}", Path::new(path).display())),
            To::Journal => journal().map_err(|error| {
                format!("{JOURNAL}: {error}; is journald running? Or name a file in [audit] to")
            }),
            To::Auto if stderr_is_journal() => {
                journal().map_err(|error| format!("{JOURNAL}: {error}"))
            }
            To::Auto | To::Stderr | To::Off => {
                stderr().map_err(|error| format!("standard error: {error}"))
            }
        }
    }

    /// Refuses a file that somebody else could write to, or could have chosen.
    ///
    /// # Errors
    /// One line that names it.
    pub fn judge(&self, plan: &AuditPlan, owner: u32) -> Result<(), String> {
        let (Self::File(file, _), To::File(path)) = (self, &plan.to) else {
            return Ok(());
        };
        let path = Path::new(path).display();
        let meta = file.metadata().map_err(|error| format!("{path}: {error}"))?;
        let reason = if !meta.is_file() {
            "not a regular file"
        } else if meta.uid() != owner || meta.mode() & 0o022 != 0 {
            "can be written by others; chown it to the broker's user and chmod go-w"
        } else if meta.nlink() != 1 {
            "has several names; remove the others"
        } else {
            return Ok(());
        };
        Err(format!("{path}: {reason}"))
    }

    /// The number of an open file.
    #[must_use]
    pub fn file(&self) -> Option<i32> {
        match self {
            Self::File(file, _) => Some(file.as_raw_fd()),
            Self::Stderr(_) | Self::Journal(_) => None,
        }
    }

    /// Descriptor to poll.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(file, _) | Self::Stderr(file) => file.as_fd(),
            Self::Journal(socket) => socket.as_fd(),
        }
    }

    /// For people.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::File(..) => "file",
            Self::Stderr(_) => "stderr",
            Self::Journal(_) => "journal",
        }
    }

    /// A record as it goes there.
    #[must_use]
    pub fn render(&self, record: &Record, how: Format) -> Vec<u8> {
        match self {
            Self::Journal(_) => format::datagram(record, how),
            Self::File(..) | Self::Stderr(_) => format::line(record, how) + "\n",
        }
        .into_bytes()
    }

    /// Writes as much of a record as there is room for.
    ///
    /// # Errors
    /// As write(2) and send(2); `WouldBlock` when nobody reads.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file, torn) => {
                if *torn && file.write(b"\n")? > 0 {
                    *torn = false;
                }
                file.write(bytes)
            }
            Self::Stderr(out) => {
                let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::ZERO) {
                    Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                    // A pipe that has any room has that for so much, and more would wait for it.
                    _ => out.write(bytes.get(..PIPE_BUF).unwrap_or(bytes)),
                }
            }
            // All or nothing.
            Self::Journal(socket) => socket.send(bytes),
        }
    }
}

/// Whether a file is not empty and does not end with a line: its last record was not written whole. Another
/// description is opened for that, as the one that is kept cannot read.
fn ends_torn(file: &File) -> io::Result<bool> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() == 0 {
        return Ok(false);
    }
    let same = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut last = [0];
    let read = same.read_at(&mut last, meta.len().saturating_sub(1))?;
    Ok(read > 0 && last != *b"\n")
}

fn stderr() -> io::Result<Sink> {
    Ok(Sink::Stderr(io::stderr().as_fd().try_clone_to_owned()?.into()))
}

fn journal() -> io::Result<Sink> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(JOURNAL)?;
    let flags = rustix::fs::fcntl_getfl(&socket)? | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&socket, flags)?;
    Ok(Sink::Journal(socket))
}

/// Whether standard error is the connection that systemd made of a service to the journal.
fn stderr_is_journal() -> bool {
    let peer = getpeername::<UnixAddr>(io::stderr().as_raw_fd());
    let path = peer.ok().and_then(|peer| peer.path().map(Path::to_path_buf));
    path.is_some_and(|path| path.as_os_str() == OsStr::from_bytes(JOURNAL_STREAM.as_bytes()))
}
