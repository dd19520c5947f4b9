//! A worker that tries one thing that its seal forbids, in place of serving.
//!
//! Forked and sealed as every other worker; nothing that a job link says leads here. It is passed a
//! file as workers are. How it ends is what its template tells of it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use fdbroker_common::probe::{Act, Props, exit_code};

use crate::seal::{self, SealError};

/// Seals this process and tries.
///
/// # Errors
/// When it cannot be sealed, or what the act needs cannot be had: then nothing was tried.
pub fn run(link: BorrowedFd<'_>, act: Act, file: OwnedFd) -> Result<ExitCode, SealError> {
    // No name leads anywhere in here, so any will do.
    let mut props = Props::gather(file, Path::new("/nonexistent"))?;
    let _sealed = seal::worker(link)?;
    Ok(exit_code(act.attempt(&mut props)).into())
}
