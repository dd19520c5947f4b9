//! What a process gives up before it serves, and the evidence that it did.
//!
//! Two steps. [`confine`] takes everything that the engine does not need to compile rules: files,
//! network, privileges. After compilation, which needs executable memory, [`template`] and then
//! [`worker`] take the rest with seccomp filters. Each step yields a token without which the next
//! part of the program does not type-check. Nothing here is ever given back.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

pub mod identity;
pub mod landlock;
pub mod limits;
pub mod seccomp;

use crate::fork::SingleThreaded;
use identity::Unprivileged;

/// Why a process could not be sealed. It must end then.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A system call failed.
    #[error("{0}: {1}")]
    System(&'static str, Errno),
    /// Capabilities could not be cleared.
    #[error("capabilities: {0}")]
    Capabilities(caps::errors::CapsError),
    /// Landlock is missing.
    #[error("Landlock: {0}")]
    Landlock(String),
    /// The filter could not be built or installed.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// Something has to be proven and is not so.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A process without files, network and privileges of its own.
#[derive(Debug)]
pub struct Confined {
    status: File,
}

/// A template that can neither map code, nor start threads or programs.
#[derive(Debug)]
pub struct TemplateSealed(());

/// A worker that can read what it is given, and answer.
#[derive(Debug)]
#[must_use]
pub struct Sealed(());

/// First step, before anything of the outside is read.
///
/// # Errors
/// See [`SealError`].
pub fn confine(_user: &Unprivileged, parent: u32) -> Result<Confined, SealError> {
    identity::volunteer_for_oom();
    identity::harden()?;
    identity::die_with(parent)?;
    limits::template()?;
    // Opened as long as that is possible; read when the threads are to be counted.
    let status = File::open("/proc/self/status")?;
    landlock::deny_all()?;
    Ok(Confined { status })
}

/// Second step, once the rules are compiled: no code but what is mapped now, no thread, no program.
///
/// # Errors
/// See [`SealError`].
pub fn template(confined: &Confined) -> Result<TemplateSealed, SealError> {
    let _threads = SingleThreaded::prove(&confined.status)?;
    seccomp::template()?;
    Ok(TemplateSealed(()))
}

/// Last step, in the worker: nothing but reading, memory, and messages on its one socket.
///
/// # Errors
/// See [`SealError`].
pub fn worker(socket: BorrowedFd<'_>) -> Result<Sealed, SealError> {
    limits::worker()?;
    seccomp::worker(socket)?;
    Ok(Sealed(()))
}
