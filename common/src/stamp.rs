//! What fstat(2) tells of a file that changes when its contents do.
//!
//! Taken by the opener when it opens and by the worker before and after it reads; equal stamps are
//! the evidence behind "the file did not change meanwhile".

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, fstat};
use serde::{Deserialize, Serialize};

/// Size and times of a file. Times in nanoseconds since 1970, saturated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Last modification of the contents.
    pub modified_ns: i64,
    /// Last change of the inode, which no system call can set back.
    pub changed_ns: i64,
}

impl Stamp {
    /// The stamp within an already taken stat.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// The stamp of an open regular file.
    ///
    /// # Errors
    /// As fstat(2); `EINVAL` when it is not a regular file.
    pub fn take(file: impl AsFd) -> rustix::io::Result<Self> {
        let stat = fstat(file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(rustix::io::Errno::INVAL);
        }
        Ok(Self::of(&stat))
    }
}

fn nanoseconds(seconds: i64, rest: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(rest).unwrap_or(0))
}
