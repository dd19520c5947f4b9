//! A pipe, socket or terminal, copied into sealed memory step by step.
//!
//! Runs in the user's process. A worker reads by position and compares sizes, which a stream has
//! not; a copy that is over its limit is given up rather than judged by its beginning.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, read, write};

use super::target::{Target, memory, reopen, seal};
use crate::outcome::{Limit, Outcome};

/// Bytes that are copied at once, and in one step.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_PER_STEP: usize = 16;

/// A stream on its way into sealed memory.
pub struct Spool {
    stream: OwnedFd,
    name: Vec<u8>,
    memory: Result<OwnedFd, Errno>,
    bytes_max: u64,
    copied: u64,
    chunk: Vec<u8>,
}

impl Spool {
    /// Begins to copy a stream; more than `bytes_max` makes it `incomplete`.
    #[must_use]
    pub fn new(stream: OwnedFd, name: Vec<u8>, bytes_max: u64) -> Self {
        Self { stream, name, memory: memory(), bytes_max, copied: 0, chunk: vec![0; CHUNK_BYTES] }
    }

    /// Begins to copy the pipe that an `O_PATH` descriptor stands for.
    pub fn reopen(pipe: BorrowedFd<'_>, name: Vec<u8>, bytes_max: u64) -> Result<Self, Target> {
        match reopen(pipe, OFlags::RDONLY) {
            Ok(stream) => Ok(Self::new(stream, name, bytes_max)),
            Err(error) => Err(Target::failed(name, error)),
        }
    }

    /// Copies what is there, up to one mebibyte, without waiting.
    pub fn step(&mut self) -> Poll<Target> {
        for _ in 0..CHUNKS_PER_STEP {
            match self.copy_chunk() {
                Ok(Chunk::Copied) | Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(Chunk::NotYet) => return Poll::Pending,
                Ok(Chunk::Last) => return Poll::Ready(self.end()),
                Ok(Chunk::TooMuch) => {
                    let outcome = Outcome::Incomplete {
                        limit: Limit::StreamSize,
                        read: self.bytes_max,
                        total: 0,
                    };
                    return Poll::Ready(Target::decided(std::mem::take(&mut self.name), outcome));
                }
                Err(error) => {
                    return Poll::Ready(Target::failed(std::mem::take(&mut self.name), error));
                }
            }
        }
        Poll::Pending
    }

    /// Copies to the end, waiting as long as the stream takes.
    pub fn finish(mut self) -> Target {
        loop {
            if let Poll::Ready(target) = self.step() {
                return target;
            }
            // A failure shows again, and is told, in the next step.
            let _ = readable(self.stream.as_fd(), None);
        }
    }

    fn copy_chunk(&mut self) -> Result<Chunk, Errno> {
        let memory = self.memory.as_ref().map_err(|error| *error)?;
        if !readable(self.stream.as_fd(), Some(&Timespec::default()))? {
            return Ok(Chunk::NotYet);
        }
        let length = read(&self.stream, &mut self.chunk)?;
        if length == 0 {
            return Ok(Chunk::Last);
        }
        self.copied = self.copied.saturating_add(length as u64);
        if self.copied > self.bytes_max {
            return Ok(Chunk::TooMuch);
        }
        let mut rest = self.chunk.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match write(memory, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Chunk::Copied)
    }

    fn end(&mut self) -> Target {
        let name = std::mem::take(&mut self.name);
        let sealed = self.memory.as_ref().map_err(|error| *error).and_then(seal);
        match sealed {
            Ok(descriptor) => Target::from_descriptor(descriptor, name),
            Err(error) => Target::failed(name, error),
        }
    }
}

/// What became of the attempt to copy a chunk.
enum Chunk {
    Copied,
    NotYet,
    Last,
    TooMuch,
}

/// Whether read(2) would not wait; true at the end of the stream too.
fn readable(stream: BorrowedFd<'_>, timeout: Option<&Timespec>) -> Result<bool, Errno> {
    let mut waited = [PollFd::from_borrowed_fd(stream, PollFlags::IN)];
    Ok(poll(&mut waited, timeout)? > 0)
}

impl AsFd for Spool {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Spool")
            .field("stream", &self.stream)
            .field("copied", &self.copied)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::*;

    fn spool(content: &[u8], bytes_max: u64) -> (Vec<u8>, Result<OwnedFd, Outcome>) {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(content).unwrap();
        drop(writer);
        let target = Target::from_stream(reader.into(), b"-".to_vec(), bytes_max);
        let (name, subject) = target.into_parts();
        (name, subject.map(|descriptor| descriptor.expect("a descriptor")))
    }

    #[test]
    fn a_stream_of_exactly_the_limit_is_copied_whole() {
        let (name, subject) = spool(b"12345", 5);
        let mut content = String::new();
        std::fs::File::from(subject.unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!((name.as_slice(), content.as_str()), (&b"-"[..], "12345"));
    }

    #[test]
    fn a_stream_over_the_limit_is_incomplete_not_cut() {
        let (_, subject) = spool(b"123456", 5);
        let expected = Outcome::Incomplete { limit: Limit::StreamSize, read: 5, total: 0 };
        assert_eq!(subject.unwrap_err(), expected);
    }

    #[test]
    fn an_open_stream_without_data_is_pending() {
        let (reader, mut writer) = pipe().unwrap();
        let mut spool = Spool::new(reader.into(), b"-".to_vec(), 5);
        assert!(spool.step().is_pending());
        writer.write_all(b"1").unwrap();
        assert!(spool.step().is_pending());
        drop(writer);
        assert!(spool.step().is_ready());
    }
}
