//! What a client designates: a descriptor with a name, or the outcome that opening it had.
//!
//! Runs in the user's process with the user's rights. `O_PATH` proves no read access and has no side
//! effects; whether it may be read is decided by the kernel when the opener reopens it.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::task::Poll;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat};
use rustix::io::Errno;

use super::spool::Spool;
use crate::limits::PATH_BYTES_MAX;
use crate::outcome::{Failure, Outcome};

/// One file or directory to be scanned.
#[derive(Debug)]
pub struct Target {
    name: Vec<u8>,
    /// Without a descriptor: what the broker finds by that name.
    subject: Result<Option<OwnedFd>, Outcome>,
    /// Whether opening its name as a path gives it once more.
    by_path: bool,
}

impl Target {
    /// Opens a path with `O_PATH`; a symbolic link is followed. A path that cannot be opened is a
    /// target too: its outcome is `denied` or `error`, and it is reported and counted like others.
    pub fn open(path: &Path) -> Self {
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        match openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(descriptor) => Self { by_path: true, ..Self::from_descriptor(descriptor, name) },
            Err(error) => Self::failed(name, error),
        }
    }

    /// Takes an `O_PATH` or read-only descriptor.
    pub fn from_descriptor(descriptor: OwnedFd, name: Vec<u8>) -> Self {
        if name.len() > PATH_BYTES_MAX {
            return Self::decided(name, Outcome::Error(Failure::PathTooLong));
        }
        Self { name, subject: Ok(Some(descriptor)), by_path: false }
    }

    /// Names what the broker is to look up beneath the trees that it grants: an absolute path, without
    /// links, `.`, `..` and empty components. Only for [`Client::connect_granted`], and there the only kind.
    ///
    /// [`Client::connect_granted`]: super::Client::connect_granted
    pub fn granted(path: &Path) -> Self {
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        if name.len() > PATH_BYTES_MAX {
            return Self::decided(name, Outcome::Error(Failure::PathTooLong));
        }
        Self { name, subject: Ok(None), by_path: false }
    }

    /// Copies a stream to its end into sealed memory; waits for it. See [`Spool`] for not waiting.
    pub fn from_stream(stream: OwnedFd, name: Vec<u8>, bytes_max: u64) -> Self {
        Spool::new(stream, name, bytes_max).finish()
    }

    /// Puts bytes into sealed memory.
    pub fn from_bytes(bytes: &[u8], name: Vec<u8>) -> Self {
        let filled = memory().and_then(|memory| {
            let mut file = std::fs::File::from(memory);
            match file.write_all(bytes) {
                Ok(()) => seal(&file.into()),
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        });
        match filled {
            Ok(descriptor) => Self::from_descriptor(descriptor, name),
            Err(error) => Self::failed(name, error),
        }
    }

    /// A target whose outcome is known already.
    pub fn decided(name: Vec<u8>, outcome: Outcome) -> Self {
        Self { name, subject: Err(outcome), by_path: false }
    }

    /// A target that could not be opened.
    pub(super) fn failed(name: Vec<u8>, error: Errno) -> Self {
        let outcome = match error {
            Errno::ACCESS => Outcome::Denied,
            error => Outcome::Error(Failure::System(error.raw_os_error())),
        };
        Self::decided(name, outcome)
    }

    /// Its descriptor, unless its outcome is known already or the broker looks it up.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.subject.as_ref().ok()?.as_ref().map(AsFd::as_fd)
    }

    /// Whether opening its name as a path gives it once more.
    pub(super) fn is_by_path(&self) -> bool {
        self.by_path
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, Result<Option<OwnedFd>, Outcome>) {
        (self.name, self.subject)
    }
}

/// Where targets come from, one by one, so that a million of them need no memory.
///
/// Every iterator is one. Implement it by hand for a source that must be waited for.
pub trait TargetSource {
    /// The next target; `Ready(None)` after the last; `Pending` when it would have to be waited for.
    fn next_target(&mut self) -> Poll<Option<Target>>;

    /// Readable once it is worth asking again after `Pending`.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl<I: Iterator<Item = Target>> TargetSource for I {
    fn next_target(&mut self) -> Poll<Option<Target>> {
        Poll::Ready(self.next())
    }
}

/// An empty memory file.
pub(super) fn memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("fdbroker", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 the flag is unknown.
        Err(Errno::INVAL) => memfd_create("fdbroker", flags),
        result => result,
    }
}

/// Makes a memory file unchangeable for everyone and returns it opened read-only.
pub(super) fn seal(memory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(memory, seals)?;
    reopen(memory.as_fd(), OFlags::RDONLY)
}

/// Opens what a descriptor stands for once more, with other flags.
pub(super) fn reopen(descriptor: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, magic_link(descriptor), flags | OFlags::CLOEXEC, Mode::empty())
}

fn magic_link(descriptor: BorrowedFd<'_>) -> PathBuf {
    let number = std::os::fd::AsRawFd::as_raw_fd(&descriptor);
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// The path of a report: the target's name, then what lies beneath it, joined by one slash.
pub(super) fn join(name: &[u8], beneath: &[u8]) -> PathBuf {
    let mut path = name.to_vec();
    if !beneath.is_empty() {
        while path.last() == Some(&b'/') {
            path.pop();
        }
        path.push(b'/');
        path.extend_from_slice(beneath);
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_name_and_what_lies_beneath_are_joined_by_one_slash() {
        for (name, beneath, path) in [
            ("a", "", "a"),
            ("a/", "", "a/"),
            ("a", "b/c", "a/b/c"),
            ("a//", "b", "a/b"),
            ("/", "b", "/b"),
        ] {
            let joined = join(name.as_bytes(), beneath.as_bytes());
            assert_eq!(joined, PathBuf::from(path), "{name} + {beneath}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_a_decided_target() {
        let (name, subject) = Target::open(Path::new("/nonexistent/x")).into_parts();
        assert_eq!(name, b"/nonexistent/x");
        let absent = Failure::System(Errno::NOENT.raw_os_error());
        assert_eq!(subject.unwrap_err(), Outcome::Error(absent));
    }

    #[test]
    fn bytes_in_memory_are_readable_and_cannot_be_changed() {
        let target = Target::from_bytes(b"content", b"x".to_vec());
        let (_, subject) = target.into_parts();
        let mut file = std::fs::File::from(subject.unwrap().unwrap());
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert!(file.write_all(b"y").is_err());
        assert!(
            reopen(file.as_fd(), OFlags::RDWR)
                .is_ok_and(|again| { std::fs::File::from(again).write_all(b"y").is_err() })
        );
    }
}
