//! Which executable a process runs: by its pidfd, so that no other process is taken for it.
//!
//! Runs in the auditor, behind its fence: one held descriptor of /proc, and readlinkat(2) on it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;

/// A held /proc.
#[derive(Debug)]
pub struct Processes(OwnedFd);

impl Processes {
    /// Opens /proc. To be called before the fence stands.
    ///
    /// # Errors
    /// As open(2), and `Unsupported` when no procfs is mounted there.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, c"/proc", flags, Mode::empty())?;
        if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "/proc is not a procfs"));
        }
        Ok(Self(proc))
    }

    /// The number that the fence allows readlinkat(2) on.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// The executable of a process, if it may be known and the process still lives: while it does, its
    /// number is nobody else's.
    #[must_use]
    pub fn executable(&self, pid: i32, process: &OwnedFd) -> Option<PathBuf> {
        let link = readlinkat(&self.0, format!("{pid}/exe"), Vec::new()).ok()?;
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        let lives = poll(&mut fds, PollTimeout::ZERO) == Ok(0);
        lives.then(|| OsString::from_vec(link.into_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    #[test]
    fn a_process_that_has_ended_has_no_executable_whoever_has_its_number() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        // The number of one that lives, as if it had been given anew.
        let own = i32::try_from(std::process::id()).unwrap();
        let processes = Processes::open().unwrap();
        assert_eq!(processes.executable(own, &pidfd), None);
        let pid = Pid::from_raw(own).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert_eq!(processes.executable(own, &pidfd), std::env::current_exe().ok());
        assert_eq!(processes.executable(0, &pidfd), None);
    }
}
