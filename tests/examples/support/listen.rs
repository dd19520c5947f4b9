//! Stream sockets by path, from the server's side: bind, listen, and tidying up.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

use crate::exit::Result;
use crate::socket::{address, connect_to};

/// A listening, non-blocking socket. Its name disappears with it.
pub struct Listener {
    // Dropped first: as long as the socket is open, no other file can get the same inode number.
    _name: Name,
    socket: UnixListener,
}

/// The file that bind(2) made.
struct Name {
    path: PathBuf,
    inode: (u64, u64),
}

impl Listener {
    /// Listens at a path where nobody else listens.
    pub fn new(path: &Path) -> Result<Self> {
        let at = address(path)?;
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = File::open(parent.unwrap_or(Path::new(".")))?;
        // Two servers that start at once must not take each other's socket for a stale one.
        directory.lock()?;
        remove_stale(path, &at)?;

        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(socket.as_raw_fd(), &at)?;
        let name = Name { path: path.to_path_buf(), inode: inode(path)? };
        listen(&socket, Backlog::new(16)?)?;
        let socket = UnixListener::from(socket);
        println!("listening on {}", name.path.display());
        Ok(Self { _name: name, socket })
    }

    /// The next client that waits to be accepted, non-blocking, if there is one.
    pub fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => stream.set_nonblocking(true).map(|()| Some(stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Removes what a server that was killed has left; anything else stays and is an error.
fn remove_stale(path: &Path, at: &UnixAddr) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(format!("{} exists and is no socket", path.display()).into());
    }
    match connect_to(at, SockFlag::SOCK_NONBLOCK) {
        Err(Errno::ECONNREFUSED) => {
            fs::remove_file(path)?;
            println!("removed a stale socket");
            Ok(())
        }
        // EAGAIN: somebody listens and has a full queue.
        Ok(_) | Err(Errno::EAGAIN) => {
            Err(format!("{}: another server is listening", path.display()).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What tells a file from another one of the same name.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for Name {
    fn drop(&mut self) {
        // Only our own: somebody may have removed it and bound another one.
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
