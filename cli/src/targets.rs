//! What the command line asks to be scanned, one target after the other.
//!
//! Runs as the user. Paths are opened with `O_PATH` only, which has no side effects; named pipes are
//! left for the opener to skip. Only standard input and anonymous pipes are read.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::task::Poll;

use fdbroker_common::client::{Spool, Target, TargetSource};
use fdbroker_common::outcome::{Failure, Outcome};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, Stat, fcntl_getfl, fstat, fstatfs, major, minor, openat,
};

use crate::args::{Args, is_dash};
use crate::names::{Name, NameList};
use crate::output::{name, plain};

/// `PIPEFS_MAGIC` of linux/magic.h: pipes that have no name.
const PIPE_FILESYSTEM: i64 = 0x5049_5045;

/// Why the targets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// `-` without standard input.
    #[error("cannot scan standard input: {0}")]
    Stdin(&'static str),
    /// `--granted` without a working directory.
    #[error("--granted needs absolute paths, for the working directory has none: {}", plain(.0))]
    Directory(io::Error),
    /// The list of names cannot be read.
    #[error("cannot read the list of files {}: {}", name(path), plain(source))]
    List {
        /// The list.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The targets of one command line.
#[derive(Debug)]
pub struct Targets {
    paths: std::vec::IntoIter<PathBuf>,
    list: Option<NameList>,
    list_failure: Option<io::Error>,
    copying: Option<Spool>,
    stream_bytes_max: u64,
    /// For `--granted`: paths are named as seen from here, and nothing is opened.
    named_from: Option<PathBuf>,
}

impl Targets {
    /// Checks standard input if it is to be scanned and opens the list of names if there is one.
    ///
    /// # Errors
    /// See [`TargetsError`].
    pub fn new(args: &Args) -> Result<Self, TargetsError> {
        if args.paths.iter().any(|path| is_dash(path)) {
            check_stdin()?;
        }
        let list = args.files_from.as_deref().map(|path| {
            NameList::open(path, args.null)
                .map_err(|source| TargetsError::List { path: path.to_owned(), source })
        });
        Ok(Self {
            paths: args.paths.clone().into_iter(),
            list: list.transpose()?,
            list_failure: None,
            copying: None,
            stream_bytes_max: args.stream_bytes_max(),
            named_from: args
                .granted
                .then(std::env::current_dir)
                .transpose()
                .map_err(TargetsError::Directory)?,
        })
    }

    /// Why the list of names ended early, if it did.
    #[must_use]
    pub fn list_failure(&self) -> Option<&io::Error> {
        self.list_failure.as_ref()
    }

    /// The next target, or the stream that is to become one.
    fn begin(&mut self) -> Poll<Option<Begun>> {
        if let Some(path) = self.paths.next() {
            return Poll::Ready(Some(if is_dash(&path) {
                begin_stdin(self.stream_bytes_max)
            } else {
                self.begin_path(&path)
            }));
        }
        let Some(list) = &mut self.list else {
            return Poll::Ready(None);
        };
        match list.next_name() {
            Ok(name) => name.map(|name| name.map(|name| self.begin_name(name))),
            Err(error) => {
                self.list_failure = Some(error);
                self.list = None;
                Poll::Ready(None)
            }
        }
    }
}

impl Targets {
    fn begin_path(&self, path: &Path) -> Begun {
        match &self.named_from {
            Some(from) => Begun::Target(Target::granted(&absolute(from, path))),
            None => begin_path(path, self.stream_bytes_max),
        }
    }

    fn begin_name(&self, name: Name) -> Begun {
        match name {
            Name::Whole(name) => {
                let path = PathBuf::from(std::ffi::OsString::from_vec(name));
                self.begin_path(&path)
            }
            Name::TooLong(beginning) => {
                let outcome = Outcome::Error(Failure::PathTooLong);
                Begun::Target(Target::decided(beginning, outcome))
            }
        }
    }
}

impl TargetSource for Targets {
    fn next_target(&mut self) -> Poll<Option<Target>> {
        if self.copying.is_none() {
            match self.begin() {
                Poll::Ready(Some(Begun::Stream(spool))) => self.copying = Some(*spool),
                Poll::Ready(Some(Begun::Target(target))) => return Poll::Ready(Some(target)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let step = self.copying.as_mut().map_or(Poll::Pending, Spool::step);
        if step.is_ready() {
            self.copying = None;
        }
        step.map(Some)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let stream = self.copying.as_ref().map(AsFd::as_fd);
        stream.or_else(|| self.list.as_ref().map(AsFd::as_fd))
    }
}

/// A target, or a stream that becomes one.
enum Begun {
    Target(Target),
    Stream(Box<Spool>),
}

/// An absolute path without `.` and `..`, by its letters alone: nothing is looked up.
pub(crate) fn absolute(from: &Path, path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for part in from.join(path).components() {
        match part {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => drop(absolute.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

fn begin_path(path: &Path, stream_bytes_max: u64) -> Begun {
    let target = Target::open(path);
    let pipe = target.descriptor().filter(|opened| is_anonymous_pipe(*opened));
    let Some(pipe) = pipe else {
        return Begun::Target(target);
    };
    let name = path.as_os_str().as_encoded_bytes().to_vec();
    match Spool::reopen(pipe, name, stream_bytes_max) {
        Ok(spool) => Begun::Stream(Box::new(spool)),
        Err(target) => Begun::Target(target),
    }
}

/// Standard input is passed on if it has a place in the file system, else copied.
fn begin_stdin(stream_bytes_max: u64) -> Begun {
    let name = b"-".to_vec();
    let begun = io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| {
        let flags = fcntl_getfl(&stdin)?;
        let kind = FileType::from_raw_mode(fstat(&stdin)?.st_mode);
        if matches!(kind, FileType::Fifo | FileType::Socket | FileType::CharacterDevice) {
            let spool = Spool::new(stdin, name.clone(), stream_bytes_max);
            return Ok(Begun::Stream(Box::new(spool)));
        }
        if flags & OFlags::RWMODE == OFlags::RDONLY {
            return Ok(Begun::Target(Target::from_descriptor(stdin, name.clone())));
        }
        // Opened for writing too, which is nothing to hand out.
        let path = openat(CWD, "/proc/self/fd/0", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Begun::Target(Target::from_descriptor(path, name.clone())))
    });
    begun.unwrap_or_else(|error| {
        let code = error.raw_os_error().unwrap_or(0);
        Begun::Target(Target::decided(name, Outcome::Error(Failure::System(code))))
    })
}

/// Nothing to read must not pass for an empty file, which would be clean.
fn check_stdin() -> Result<(), TargetsError> {
    let stdin = io::stdin();
    let facts = fcntl_getfl(&stdin).and_then(|flags| Ok((flags, fstat(&stdin)?)));
    let Ok((flags, stat)) = facts else {
        return Err(TargetsError::Stdin("it is closed"));
    };
    // When number 0 is closed, the runtime of a Rust program puts /dev/null there, opened so.
    if flags & OFlags::RWMODE == OFlags::RDWR && is_null_device(&stat) {
        return Err(TargetsError::Stdin("it is closed"));
    }
    if flags & OFlags::RWMODE == OFlags::WRONLY {
        return Err(TargetsError::Stdin("it is not open for reading"));
    }
    Ok(())
}

fn is_null_device(stat: &Stat) -> bool {
    let null = File::open("/dev/null").and_then(|null| Ok(fstat(null)?));
    null.is_ok_and(|null| {
        (major(null.st_rdev), minor(null.st_rdev)) == (major(stat.st_rdev), minor(stat.st_rdev))
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
    })
}

fn is_anonymous_pipe(opened: BorrowedFd<'_>) -> bool {
    fstat(opened).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        && fstatfs(opened).is_ok_and(|filesystem| filesystem.f_type == PIPE_FILESYSTEM)
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_path_becomes_absolute_by_its_letters() {
        for (path, wanted) in [
            ("x/y", "/srv/a/x/y"),
            ("./x//y/", "/srv/a/x/y"),
            ("../../../etc/shadow", "/etc/shadow"),
            ("/srv/../etc/./shadow", "/etc/shadow"),
            (".", "/srv/a"),
            ("/", "/"),
        ] {
            assert_eq!(absolute(Path::new("/srv/a"), Path::new(path)), Path::new(wanted), "{path}");
        }
    }

    #[test]
    fn an_anonymous_pipe_given_by_path_is_copied() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"content").unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let Begun::Stream(spool) = begin_path(&path, 100) else {
            panic!("a pipe is not passed as it is");
        };
        let target = spool.finish();
        let kind = fstat(target.descriptor().unwrap()).unwrap().st_mode;
        assert_eq!(FileType::from_raw_mode(kind), FileType::RegularFile);
    }

    #[test]
    fn a_named_pipe_is_passed_and_never_opened() {
        let path = std::env::temp_dir().join(format!("fdscan-fifo-{}", std::process::id()));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let begun = begin_path(&path, 100);
        std::fs::remove_file(&path).unwrap();
        let Begun::Target(target) = begun else {
            panic!("a named pipe is not read");
        };
        let flags = fcntl_getfl(target.descriptor().unwrap()).unwrap();
        assert!(flags.contains(OFlags::PATH));
    }
}
