//! Rule files as they arrive: names and descriptors from the broker.
//!
//! Runs in a template before it is sealed. Each file is read at once and its descriptor closed, so
//! that their number is not limited by that of descriptors. No path is ever opened.

use std::os::fd::OwnedFd;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::escape::Escaped;
use fdbroker_common::limits::{RULE_ERROR_BYTES_MAX, RULE_FILE_BYTES_MAX, RULE_FILES_MAX};
use fdbroker_common::scanner_link::{BrokerToTemplate, TemplateToBroker};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, pread};

/// Most bytes of all rule files together.
const ALL_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A template's end of its link.
pub type Link = Channel<TemplateToBroker, BrokerToTemplate>;

/// Why rules are not usable, for people: one line, bounded, nothing in it moves a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection(String);

impl Rejection {
    /// A reason, `FILE[:LINE]: reason`. Both texts are escaped here.
    #[must_use]
    pub fn new(file: &[u8], line: Option<usize>, reason: &str) -> Self {
        let mut text = Escaped(file).to_string();
        if let Some(line) = line {
            text.push(':');
            text.push_str(&line.to_string());
        }
        text.push_str(": ");
        text.push_str(&Escaped(reason.as_bytes()).to_string());
        let end = text.floor_char_boundary(RULE_ERROR_BYTES_MAX);
        text.truncate(end);
        Self(text)
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One rule file.
#[derive(Debug)]
pub struct Source {
    /// Its name, which is also its namespace.
    pub name: Vec<u8>,
    /// Its contents.
    pub text: Vec<u8>,
}

/// The link is no longer of use.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker has gone or broke the protocol.
    #[error("link to the broker: {0}")]
    Link(#[from] ChannelError),
    /// It asked for workers before there were rules.
    #[error("the broker asked for a worker before the rules were compiled")]
    Order,
}

/// Receives rule files until the broker says that there are no more.
///
/// # Errors
/// [`SourceError`] when the link is of no use; the inner error is about the rules.
pub fn receive(link: &mut Link) -> Result<Result<Vec<Source>, Rejection>, SourceError> {
    let mut sources = Ok(Vec::new());
    loop {
        match link.receive()? {
            (BrokerToTemplate::Rules(names), files) => {
                // After the first bad file the rest is only waited out.
                if let Ok(so_far) = sources {
                    sources = names
                        .into_iter()
                        .map(|name| name.into_vec())
                        .zip(files)
                        .try_fold(so_far, add);
                }
            }
            (BrokerToTemplate::Compile, _) => return Ok(sources),
            (
                BrokerToTemplate::Fork { .. }
                | BrokerToTemplate::Kill { .. }
                | BrokerToTemplate::Probe { .. },
                _,
            ) => return Err(SourceError::Order),
        }
    }
}

fn add(mut sources: Vec<Source>, new: (Vec<u8>, OwnedFd)) -> Result<Vec<Source>, Rejection> {
    let (name, file) = new;
    if sources.len() >= RULE_FILES_MAX {
        return Err(Rejection::new(&name, None, "too many rule files"));
    }
    if sources.iter().any(|source| source.name == name) {
        return Err(Rejection::new(&name, None, "two rule files of this name"));
    }
    let text = read(&file).map_err(|reason| Rejection::new(&name, None, &reason))?;
    let before: usize = sources.iter().map(|source| source.text.len()).sum();
    if before.saturating_add(text.len()) > ALL_BYTES_MAX {
        return Err(Rejection::new(&name, None, "too many bytes of rules"));
    }
    sources.push(Source { name, text });
    Ok(sources)
}

fn read(file: &OwnedFd) -> Result<Vec<u8>, String> {
    let stat = fstat(file).map_err(reason)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("not a regular file".to_owned());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    let too_large = || format!("larger than {RULE_FILE_BYTES_MAX} bytes");
    if size > RULE_FILE_BYTES_MAX {
        return Err(too_large());
    }
    let most = usize::try_from(RULE_FILE_BYTES_MAX).unwrap_or(usize::MAX);
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    loop {
        // The file may be longer than it was.
        text.reserve(1);
        let offset = u64::try_from(text.len()).unwrap_or(u64::MAX);
        match pread(file, spare_capacity(&mut text), offset) {
            Ok(0) => return Ok(text),
            Ok(_) if text.len() > most => return Err(too_large()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(reason(error)),
        }
    }
}

fn reason(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        let rejection = Rejection::new(b"a\nb.yar", Some(7), &"\u{1b}[31mx".repeat(9000));
        assert!(rejection.as_str().starts_with("a\\nb.yar:7: \\x1b[31mx"));
        assert!(rejection.as_str().len() <= RULE_ERROR_BYTES_MAX);
        assert!(!rejection.as_str().contains(['\n', '\u{1b}']));
    }

    #[test]
    fn a_directory_and_a_second_file_of_a_name_are_refused() {
        let directory: OwnedFd = std::fs::File::open("/").unwrap().into();
        let refused = add(Vec::new(), (b"d".to_vec(), directory)).unwrap_err();
        assert_eq!(refused.as_str(), "d: not a regular file");
        let file = || OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
        let one = vec![Source { name: b"a".to_vec(), text: Vec::new() }];
        assert!(add(one, (b"a".to_vec(), file())).is_err());
    }
}
