//! Which files make up the configuration, and their text. Nobody but root and the broker's user could
//! have written them: see [`super::trusted`].

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fdbroker_common::escape::Escaped;
use fdbroker_common::paths;

use super::problem::Problem;
use super::trusted::{self, Kind, Trusted};

/// Largest file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most files beside the first one.
const FILES_MAX: usize = 128;

/// Directory beside the first file, and how the names of files in it end.
const DIRECTORY: &str = "conf.d";
const SUFFIX: &[u8] = b".toml";

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path, escaped.
    pub name: Rc<str>,
    /// What is in it.
    pub text: String,
    /// Where its lines begin.
    lines: Vec<usize>,
}

impl Source {
    /// A file of this path with this text.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { name: shown(path).into(), text, lines }
    }

    /// Line and column, from 1, of a byte.
    #[must_use]
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(begin..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// Reads the file that was asked for, else root's own if it is there; then those in `conf.d` beside it,
/// in order of their names.
///
/// # Errors
/// All files that cannot be read, or that others could have written, and what to do.
pub fn read_all(asked: Option<&Path>, user: u32) -> Result<Vec<Source>, Vec<Problem>> {
    let first = match asked {
        Some(path) => path,
        None if user == 0 => Path::new(paths::CONFIG_FILE),
        None => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    found.push((first.to_path_buf(), read(first, user)));
    let directory = first.parent().unwrap_or(Path::new("")).join(DIRECTORY);
    match list(&directory, user) {
        Ok(paths) => found.extend(paths.into_iter().map(|path| (path.clone(), read(&path, user)))),
        Err(error) => found.push((directory, Err(error))),
    }
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for (path, read) in found {
        match read {
            Ok(text) => sources.push(Source::new(&path, text)),
            Err(error) if is_absent(&error) && asked.is_none_or(|asked| asked != path) => {}
            Err(error) => {
                problems.push(Problem::general(format_args!("{}: {error}", shown(&path))));
            }
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn read(path: &Path, user: u32) -> io::Result<String> {
    let file = fs::File::open(reopened(&trusted::open(path, Kind::File, user)?))?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("larger than 1 MiB; split it into files in conf.d"));
    }
    String::from_utf8(text).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        io::Error::other(format!("byte {} is not UTF-8 text, which TOML is", valid + 1))
    })
}

/// The files in a directory; hidden ones and those with another ending are not looked at.
fn list(directory: &Path, user: u32) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(reopened(&trusted::open(directory, Kind::Directory, user)?))?;
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    let counts = |name: &std::ffi::OsString| {
        name.as_bytes().ends_with(SUFFIX) && !name.as_bytes().starts_with(b".")
    };
    let mut paths: Vec<PathBuf> =
        names.into_iter().filter(counts).map(|name| directory.join(name)).collect();
    if paths.len() > FILES_MAX {
        let text = format!("{} files; at most {FILES_MAX} are read: join some", paths.len());
        return Err(io::Error::other(text));
    }
    paths.sort_unstable();
    Ok(paths)
}

/// By this name what was checked is opened, and nothing that has taken its place.
fn reopened(object: &Trusted) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

/// A path for people.
#[must_use]
pub fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}
