//! A list of names (`--files-from`), read as it comes.
//!
//! Runs as the user. It never waits, never keeps more than one chunk and one name, and takes names
//! as the bytes that they are: only the delimiter ends one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::task::Poll;

use fdbroker_common::limits::PATH_BYTES_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, read};

use crate::args::is_dash;

const CHUNK_BYTES: usize = 64 * 1024;

/// A list of names.
#[derive(Debug)]
pub struct NameList {
    list: OwnedFd,
    delimiter: u8,
    chunk: Vec<u8>,
    /// Read, but not yet given out from `start` on.
    unused: Vec<u8>,
    start: usize,
    /// The beginning of a name that is too long, while its end is looked for.
    too_long: Option<Vec<u8>>,
    ended: bool,
}

/// One entry of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// A name.
    Whole(Vec<u8>),
    /// The first bytes of one that is longer than any path can be.
    TooLong(Vec<u8>),
}

impl NameList {
    /// Opens a list; `-` is standard input.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path, null: bool) -> io::Result<Self> {
        let list: OwnedFd = if is_dash(path) {
            io::stdin().as_fd().try_clone_to_owned()?
        } else {
            File::open(path)?.into()
        };
        if FileType::from_raw_mode(fstat(&list)?.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR.into());
        }
        Ok(Self::new(list, if null { 0 } else { b'\n' }))
    }

    fn new(list: OwnedFd, delimiter: u8) -> Self {
        Self {
            list,
            delimiter,
            chunk: vec![0; CHUNK_BYTES],
            unused: Vec::new(),
            start: 0,
            too_long: None,
            ended: false,
        }
    }

    /// The next name that is not empty, if it is there already.
    ///
    /// # Errors
    /// As read(2).
    pub fn next_name(&mut self) -> io::Result<Poll<Option<Name>>> {
        loop {
            match self.cut() {
                Some(Name::Whole(name)) if name.is_empty() => {}
                Some(name) => return Ok(Poll::Ready(Some(name))),
                None if self.ended => return Ok(Poll::Ready(None)),
                None => match self.fill() {
                    Ok(true) | Err(Errno::INTR | Errno::AGAIN) => {}
                    Ok(false) => return Ok(Poll::Pending),
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    /// Takes a name out of what has been read.
    fn cut(&mut self) -> Option<Name> {
        let rest = self.unused.get(self.start..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == self.delimiter);
        let name = match end {
            Some(end) => rest.get(..end).unwrap_or_default().to_vec(),
            None if self.ended && (!rest.is_empty() || self.too_long.is_some()) => rest.to_vec(),
            None => {
                self.shorten();
                return None;
            }
        };
        // Past the delimiter; beyond the end of the bytes for the last name, which has none.
        self.start = self.start.saturating_add(name.len()).saturating_add(1);
        if let Some(beginning) = self.too_long.take() {
            return Some(Name::TooLong(beginning));
        }
        if name.len() > PATH_BYTES_MAX {
            return Some(Name::TooLong(beginning_of(&name)));
        }
        Some(Name::Whole(name))
    }

    /// Forgets what has been given out, and all but the beginning of a name that is too long.
    fn shorten(&mut self) {
        self.unused.drain(..self.start.min(self.unused.len()));
        self.start = 0;
        if self.unused.len() > PATH_BYTES_MAX {
            self.too_long.get_or_insert_with(|| beginning_of(&self.unused));
        }
        if self.too_long.is_some() {
            self.unused.clear();
        }
    }

    /// Reads a chunk. False when that would wait.
    fn fill(&mut self) -> Result<bool, Errno> {
        let mut waited = [PollFd::new(&self.list, PollFlags::IN)];
        if poll(&mut waited, Some(&Timespec::default()))? == 0 {
            return Ok(false);
        }
        let length = read(&self.list, &mut self.chunk)?;
        self.ended = length == 0;
        let bytes = self.chunk.get(..length).unwrap_or_default();
        self.unused.extend_from_slice(bytes);
        Ok(true)
    }
}

fn beginning_of(name: &[u8]) -> Vec<u8> {
    name.get(..PATH_BYTES_MAX).unwrap_or(name).to_vec()
}

impl AsFd for NameList {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.list.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::thread;

    use super::*;

    /// All names of a list that comes in the given pieces.
    fn names(content: Vec<u8>, delimiter: u8) -> Vec<Name> {
        let (reader, mut writer) = pipe().unwrap();
        let writing = thread::spawn(move || writer.write_all(&content).unwrap());
        let mut list = NameList::new(reader.into(), delimiter);
        let mut names = Vec::new();
        loop {
            match list.next_name().unwrap() {
                Poll::Ready(Some(name)) => names.push(name),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    poll(&mut [PollFd::new(&list, PollFlags::IN)], None).unwrap();
                }
            }
        }
        writing.join().unwrap();
        names
    }

    fn whole(names: &[&[u8]]) -> Vec<Name> {
        names.iter().map(|name| Name::Whole(name.to_vec())).collect()
    }

    #[test]
    fn lines_are_names_and_empty_ones_are_none() {
        let read = names(b"a\n\nb c\r\n\xff\nlast".to_vec(), b'\n');
        assert_eq!(read, whole(&[b"a", b"b c\r", b"\xff", b"last"]));
        assert_eq!(names(b"".to_vec(), b'\n'), []);
        assert_eq!(names(b"\n".to_vec(), b'\n'), []);
    }

    #[test]
    fn with_nul_a_newline_is_part_of_the_name() {
        assert_eq!(names(b"a\nb\0c\0".to_vec(), 0), whole(&[b"a\nb", b"c"]));
    }

    #[test]
    fn a_name_that_is_too_long_is_told_and_the_next_one_is_whole() {
        for length in [PATH_BYTES_MAX + 1, 300_000] {
            let mut list = vec![b'x'; length];
            list.extend_from_slice(b"\nnext\n");
            let read = names(list, b'\n');
            let beginning = Name::TooLong(vec![b'x'; PATH_BYTES_MAX]);
            assert_eq!(read, [beginning, Name::Whole(b"next".to_vec())], "{length}");
        }
        let only = names(vec![b'x'; 300_000], b'\n');
        assert_eq!(only, [Name::TooLong(vec![b'x'; PATH_BYTES_MAX])]);
    }

    #[test]
    fn a_hundred_thousand_names_come_in_order() {
        let list: String = (0..100_000).map(|n| format!("{n}\n")).collect();
        let read = names(list.into_bytes(), b'\n');
        assert_eq!(read.len(), 100_000);
        assert_eq!(read[77_777], Name::Whole(b"77777".to_vec()));
    }
}
