//! Reads the files that a worker is given, and vets them first.
//!
//! The opener is to pass regular files that are open for reading alone; this does not take its word
//! for it. Only pread(2) is used: it leaves the shared offset alone, and a file that shrinks yields
//! fewer bytes instead of a signal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_common::job_link::{Finding, Job};
use fdbroker_common::limits::FILE_BYTES_MAX;
use fdbroker_common::outcome::{Change, Limit};
use fdbroker_common::stamp::Stamp;
use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, pread};

use crate::memory;

/// A buffer that has grown beyond this is given back after use.
const BUFFER_KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What to answer for a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// What was found out.
    pub finding: Finding,
    /// Bytes read.
    pub read: u64,
}

impl Found {
    fn nothing(finding: Finding) -> Self {
        Self { finding, read: 0 }
    }
}

/// A regular file, open for reading alone, as the opener has seen it.
#[derive(Debug)]
pub struct VettedFile<'a> {
    file: BorrowedFd<'a>,
    stamp: Stamp,
}

impl<'a> VettedFile<'a> {
    /// Looks at a descriptor without reading.
    ///
    /// # Errors
    /// What to answer instead of a verdict.
    pub fn vet(file: &'a OwnedFd, job: &Job) -> Result<Self, Found> {
        let file = file.as_fd();
        let flags = fcntl_getfl(file).map_err(|_| Found::nothing(Finding::Refused))?;
        if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE != OFlags::RDONLY {
            return Err(Found::nothing(Finding::Refused));
        }
        let stamp = match Stamp::take(file) {
            Ok(stamp) => stamp,
            Err(Errno::INVAL) => return Err(Found::nothing(Finding::Refused)),
            Err(error) => return Err(Found::nothing(read_error(error))),
        };
        if stamp != job.stamp {
            return Err(Found::nothing(Finding::Unstable(Change::Modified)));
        }
        if stamp.size > job.bytes_max.min(FILE_BYTES_MAX) {
            return Err(Found::nothing(Finding::Incomplete(Limit::FileSize)));
        }
        Ok(Self { file, stamp })
    }

    /// Size that was announced.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// What to answer instead of a verdict.
    pub fn read<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], Found> {
        let bytes = buffer.clear(self.stamp.size)?;
        // One byte more than announced, so that a file that has grown is noticed: there was room for it
        // when the last announced byte was read.
        while length(bytes) <= self.stamp.size {
            let offset = length(bytes);
            match pread(self.file, spare_capacity(bytes), offset) {
                Ok(0) => break,
                Ok(_) if length(bytes) == self.stamp.size => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(Found { finding: read_error(error), read: length(bytes) });
                }
            }
        }
        let change = match length(bytes).cmp(&self.stamp.size) {
            std::cmp::Ordering::Equal => return Ok(bytes),
            std::cmp::Ordering::Less => Change::Shrunk,
            std::cmp::Ordering::Greater => Change::Modified,
        };
        Err(Found { finding: Finding::Unstable(change), read: length(bytes) })
    }

    /// What "no rule matches" amounts to: clean, if the file is still what it was.
    #[must_use]
    pub fn clean_if_unchanged(&self) -> Finding {
        match Stamp::take(self.file) {
            Ok(stamp) if stamp == self.stamp => Finding::Clean,
            Ok(_) => Finding::Unstable(Change::Modified),
            Err(error) => read_error(error),
        }
    }
}

/// Memory for one file at a time, reused.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    fn clear(&mut self, size: u64) -> Result<&mut Vec<u8>, Found> {
        let refused = || Found::nothing(Finding::Incomplete(Limit::Memory));
        self.0.clear();
        let room = usize::try_from(size.saturating_add(1)).map_err(|_| refused())?;
        if self.0.capacity() < room {
            self.0.try_reserve_exact(room).map_err(|_| refused())?;
            memory::prefer_huge_pages(&mut self.0);
        }
        Ok(&mut self.0)
    }

    /// Gives the memory of a large file back.
    pub fn shrink(&mut self) {
        if self.0.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.0 = Vec::new();
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn read_error(error: Errno) -> Finding {
    Finding::ReadError(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn pair(name: &str) -> (File, OwnedFd) {
        let name = format!("fdscand-input-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut writer = File::create_new(&path).unwrap();
        let reader = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        writer.write_all(b"twelve bytes").unwrap();
        (writer, reader.into())
    }

    fn job(file: &OwnedFd) -> Job {
        Job { id: 1, stamp: Stamp::take(file).unwrap(), bytes_max: 100, name: None }
    }

    fn unstable(change: Change, read: u64) -> Found {
        let finding = Finding::Unstable(change);
        Found { finding, read }
    }

    #[test]
    fn a_change_after_the_first_look_is_noticed() {
        let mut buffer = Buffer::default();
        let (mut writer, reader) = pair("change");
        let vetted = VettedFile::vet(&reader, &job(&reader)).unwrap();
        assert_eq!(vetted.read(&mut buffer).unwrap(), b"twelve bytes");
        assert_eq!(vetted.clean_if_unchanged(), Finding::Clean);
        writer.write_all(b"!").unwrap();
        assert_eq!(vetted.clean_if_unchanged(), Finding::Unstable(Change::Modified));
        let grown = vetted.read(&mut buffer).unwrap_err();
        assert_eq!(grown, unstable(Change::Modified, 13));
        writer.set_len(5).unwrap();
        let shrunk = vetted.read(&mut buffer).unwrap_err();
        assert_eq!(shrunk, unstable(Change::Shrunk, 5));
    }

    #[test]
    fn a_buffer_is_reused_until_it_is_large() {
        let mut buffer = Buffer::default();
        buffer.clear(1 << 20).unwrap();
        buffer.shrink();
        assert!(buffer.0.capacity() > 1 << 20);
        buffer.clear(BUFFER_KEPT_BYTES_MAX as u64).unwrap();
        buffer.shrink();
        assert_eq!(buffer.0.capacity(), 0);
    }

    #[test]
    fn no_memory_is_a_finding() {
        let refused = Buffer::default().clear(u64::MAX - 1).unwrap_err();
        assert_eq!(refused.finding, Finding::Incomplete(Limit::Memory));
    }
}
