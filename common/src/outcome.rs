//! The one vocabulary for what became of a file: protocol, text, JSON, exit code and audit use it.
//!
//! `Clean` is said only when every byte was read, by a live engine with the announced rules, within
//! the limits, and the file did not change meanwhile. Everything else has a name of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::RULES_PER_FILE_MAX;
use crate::wire::{WireError, bound};

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Outcome {
    /// Read to the end, nothing matched.
    Clean,
    /// At least one rule matched. Names in rule order, at most [`RULES_PER_FILE_MAX`].
    Match {
        /// Names of the rules.
        rules: Vec<String>,
    },
    /// A limit stopped the scan before the end.
    Incomplete {
        /// Which limit.
        limit: Limit,
        /// Bytes that were read.
        read: u64,
        /// Bytes that there are; 0 when unknown (a stream).
        total: u64,
    },
    /// The file changed while it was scanned, so that nothing can be said of it.
    Unstable(Change),
    /// The caller may not read it.
    Denied,
    /// Not a file that is scanned.
    Skipped(SkipReason),
    /// It could not be scanned.
    Error(Failure),
}

impl Outcome {
    /// The word used in text (upper case there), JSON and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Match { .. } => "match",
            Self::Incomplete { .. } => "incomplete",
            Self::Unstable(_) => "unstable",
            Self::Denied => "denied",
            Self::Skipped(_) => "skipped",
            Self::Error(_) => "error",
        }
    }

    /// Bounds for [`crate::wire::Message::check`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Match { rules } => {
                bound(!rules.is_empty() && rules.len() <= RULES_PER_FILE_MAX, "rules of a match")
            }
            _ => Ok(()),
        }
    }
}

/// Which limit ended a scan early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Larger than the size limit; not read at all.
    FileSize,
    /// The stream went on beyond its limit.
    StreamSize,
    /// The worker could not get memory for the file.
    Memory,
    /// The files of this scan may hold no more together; not read at all.
    ScanSize,
}

/// How a file changed under the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Size, modification or change time differ from before.
    Modified,
    /// Fewer bytes could be read than there were.
    Shrunk,
    /// The name was gone, or another file, when it was to be opened.
    Vanished,
    /// The directory was moved away while its contents were walked.
    Moved,
}

/// Why a file is none that is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// Symbolic link, and following was not asked for.
    SymbolicLink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character or block device.
    Device,
    /// On procfs, sysfs or another file system that holds no real files.
    PseudoFilesystem,
    /// On another file system, and crossing was not asked for.
    OtherFilesystem,
    /// Named by an exclude pattern.
    Excluded,
    /// A directory that contains itself, by symbolic link or bind mount.
    DirectoryLoop,
    /// None of the known types.
    UnknownType,
}

/// Why a file could not be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The system call failed with this `errno`.
    System(i32),
    /// The file ended the worker twice; the signal, or 0 if unknown.
    WorkerCrashed(i32),
    /// Not finished within this many seconds.
    TimedOut(u32),
    /// The worker refused the descriptor: not a regular file opened read-only.
    Refused,
    /// The engine reported an error.
    Engine,
    /// There is no scanner.
    NoScanner,
    /// The path is longer than can be reported.
    PathTooLong,
    /// Somebody else keeps a lease on the file; it did not become free.
    Busy,
    /// The worker that had the file to itself broke the protocol, as the one before it did.
    WorkerMisbehaved,
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::FileSize => "size limit",
            Self::StreamSize => "stream limit",
            Self::Memory => "memory limit",
            Self::ScanSize => "limit of the whole scan",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Modified => "changed during the scan",
            Self::Shrunk => "shrank during the scan",
            Self::Vanished => "vanished during the scan",
            Self::Moved => "directory moved during the scan",
        })
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::SymbolicLink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::PseudoFilesystem => "pseudo file system",
            Self::OtherFilesystem => "other file system",
            Self::Excluded => "excluded",
            Self::DirectoryLoop => "directory loop",
            Self::UnknownType => "unknown file type",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(code) => out.write_str(nix::errno::Errno::from_raw(*code).desc()),
            Self::WorkerCrashed(0) => out.write_str("crashed the scanner"),
            Self::WorkerCrashed(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(signal) => write!(out, "crashed the scanner ({})", signal.as_str()),
                Err(_) => write!(out, "crashed the scanner (signal {signal})"),
            },
            Self::TimedOut(seconds) => write!(out, "not finished after {seconds} s"),
            Self::Refused => out.write_str("descriptor refused by the scanner"),
            Self::Engine => out.write_str("engine error"),
            Self::NoScanner => out.write_str("no scanner"),
            Self::PathTooLong => out.write_str("path too long"),
            Self::Busy => out.write_str("kept busy by a lease"),
            Self::WorkerMisbehaved => out.write_str("made the scanner misbehave"),
        }
    }
}
