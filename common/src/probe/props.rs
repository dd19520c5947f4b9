//! What acts need at hand, gathered before the last fence stands: nothing of it could be had after.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

/// The name of the file that may be written, and of the one that may be removed, in the directory for
/// acts.
pub const FILE: &str = "file";
/// See [`FILE`].
pub const SURPLUS: &str = "surplus";

/// Room for the largest handle of a file (`MAX_HANDLE_SZ`) and its header.
pub type Handle = [u64; 17];

/// Things to try acts on.
#[derive(Debug)]
pub struct Props {
    /// A regular file, open for reading alone.
    pub(super) file: OwnedFd,
    /// Two connected sockets.
    pub(super) sockets: (OwnedFd, OwnedFd),
    /// Our parent, outside the fence, or at least another process than ours.
    pub(super) parent: Pid,
    /// The same, held.
    pub(super) pidfd: OwnedFd,
    /// Ourselves.
    pub(super) own: Pid,
    /// A directory with a file, a file to remove, and a name to create, where the one who tries could
    /// do all of that.
    pub(super) place: CString,
    pub(super) path: CString,
    pub(super) surplus: CString,
    pub(super) new: CString,
    /// That file's handle, if one could be had: see open_by_handle_at(2).
    pub(super) handle: Handle,
}

impl Props {
    /// Gathers them. `place` is a directory with the files [`FILE`] and [`SURPLUS`], or does not
    /// exist; `file` is open for reading.
    ///
    /// # Errors
    /// As socketpair(2) and pidfd_open(2).
    pub fn gather(file: OwnedFd, place: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let sockets = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let parent = getppid().ok_or_else(|| io::Error::other("no parent that can be seen"))?;
        let pidfd = pidfd_open(parent, PidfdFlags::empty())?;
        let name = |name: &str| CString::new(place.join(name).as_os_str().as_bytes());
        Ok(Self {
            file,
            sockets,
            parent,
            pidfd,
            own: rustix::process::getpid(),
            place: CString::new(place.as_os_str().as_bytes())?,
            path: name(FILE)?,
            surplus: name(SURPLUS)?,
            new: name("new")?,
            handle: [0; _],
        })
    }

    /// Gathers them and a handle of the file, which takes a call that most fences refuse.
    ///
    /// # Errors
    /// As [`Props::gather`], and when there is no such file.
    pub fn gather_all(place: &Path) -> io::Result<Self> {
        let file = File::open(place.join(FILE))?;
        let mut props = Self::gather(file.into(), place)?;
        props.handle = super::files::handle(&props.path).unwrap_or([0; _]);
        Ok(props)
    }

    /// The descriptor that was passed.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
