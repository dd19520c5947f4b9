//! The runtime directory and the sockets in it.
//!
//! Runs in the broker. The directory is ours alone to write and locked while we live, so a socket
//! found in it is a stale one of ours. Modes are set by the umask of bind(2), never afterwards.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, umask};
use rustix::fs::{FlockOperation, flock};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 128;

const NOT_OURS: &str =
    "a runtime directory must belong to the broker's user and be writable by no other";

/// The directory, held open and locked.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    lock: File,
}

impl RuntimeDir {
    /// Makes it if it is not there, checks that nobody else can write to it, locks it.
    ///
    /// # Errors
    /// One line for the administrator.
    pub fn claim(path: &Path, for_all_users: bool) -> Result<Self, String> {
        let claim = || {
            let before = umask(Mode::empty());
            let made =
                DirBuilder::new().mode(if for_all_users { 0o755 } else { 0o700 }).create(path);
            umask(before);
            made.or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })?;
            let lock = File::open(path)?;
            let meta = lock.metadata()?;
            let ours = meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0;
            if !meta.is_dir() || !ours {
                return Err(io::Error::other(NOT_OURS));
            }
            let taken = "another broker runs here; stop it or choose another --runtime-dir";
            flock(&lock, FlockOperation::NonBlockingLockExclusive)
                .map_err(|_| io::Error::other(taken))?;
            Ok(Self { path: path.to_path_buf(), lock })
        };
        claim().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &File {
        &self.lock
    }

    /// Removes a socket, if there is one of that name.
    pub fn remove(&self, name: &str) {
        let path = self.path.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.file_type().is_socket())
            && let Err(error) = fs::remove_file(&path)
        {
            log::warn!("{}: {error}", path.display());
        }
    }

    /// Makes a listening socket, in the place of a stale one.
    ///
    /// # Errors
    /// One line for the administrator.
    pub fn listen(&self, name: &str, for_all_users: bool) -> Result<OwnedFd, String> {
        self.remove(name);
        let path = self.path.join(name);
        let mask = if for_all_users { 0o111 } else { 0o177 };
        let before = umask(Mode::from_bits_truncate(mask));
        let result = UnixAddr::new(&path).and_then(|address| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
            bind(listener.as_raw_fd(), &address)?;
            listen(&listener, Backlog::new(BACKLOG)?)?;
            Ok(listener)
        });
        umask(before);
        result.map_err(|error: nix::Error| format!("{}: {}", path.display(), error.desc()))
    }
}
