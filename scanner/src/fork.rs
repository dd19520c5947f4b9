//! fork(2), the one unsafe call of the scanner.
//!
//! A template forks workers from itself, so that each has the compiled rules without compiling them.
//! That is sound only without threads: after fork(2) a child has no thread but the caller's, and a
//! lock that another one held stays locked for ever.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use nix::unistd::ForkResult;
use rustix::process::Pid;

use crate::seal::TemplateSealed;

/// Which side of fork(2) this is.
#[derive(Debug)]
#[must_use]
pub enum Forked {
    /// The process that asked; the new one's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Evidence that the process has one thread.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Reads the number of threads from an open `/proc/self/status`.
    ///
    /// # Errors
    /// When it is not 1, or cannot be read.
    pub fn prove(status: &File) -> io::Result<Self> {
        let mut text = Vec::with_capacity(8192);
        rustix::io::pread(status, rustix::buffer::spare_capacity(&mut text), 0)?;
        let threads = text
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"Threads:"))
            .map(<[u8]>::trim_ascii);
        if threads == Some(b"1") {
            Ok(Self(()))
        } else {
            Err(io::Error::other("the engine has started a thread"))
        }
    }
}

/// Starts a copy of this process.
///
/// # Errors
/// As fork(2).
pub fn fork(_sealed: &TemplateSealed) -> io::Result<Forked> {
    // SAFETY: the process has one thread, so the child may do whatever the parent may. Upheld by
    // `TemplateSealed`: it is made from `SingleThreaded`, and the filter that it stands for kills
    // the process when it tries to start a thread.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Pid::from_raw(child.as_raw())
            .map(Forked::Parent)
            .ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}
