//! The rule reader: opens the administrator's rule files and passes them to the dispatcher.
//!
//! A process of its own for each load, started by the broker; it has a uid of its own with
//! `DAC_READ_SEARCH` alone (or is an ordinary user's) and the opener's fence. The directory was named
//! at start; nothing here comes from a caller, and no content is read.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fdbroker_common::channel::Channel;
use fdbroker_common::limits::{RULE_ERROR_BYTES_MAX, RULE_FILES_MAX, RULE_FILES_PER_MESSAGE_MAX};
use fdbroker_common::stdio::take_channel;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::confine;
use crate::reader_link::{DispatcherToReader, ReaderToDispatcher};
use crate::root::privilege;

/// First argument that selects this role. Then follow the uid to take, or `-`, and the directory.
pub const ROLE: &str = "--rule-reader";

/// Sends all rule files, or why not, and ends.
///
/// # Errors
/// When the identity cannot be taken or the dispatcher has gone.
pub fn run(mut args: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut dispatcher: Channel<ReaderToDispatcher, DispatcherToReader> = take_channel()?;
    match args.next().and_then(|uid| uid.into_string().ok()).and_then(|uid| uid.parse().ok()) {
        Some(uid) => privilege::become_reader(uid)?,
        None if nix::unistd::geteuid().is_root() => {
            return Err(io::Error::other("rules are never read as root"));
        }
        None => privilege::clear_capabilities()?,
    }
    let dir = args.next();
    // Before it looks at the directory, so that no change falls in between; and before the fence, which
    // would refuse it.
    let watch = dir.as_deref().and_then(|dir| watch(Path::new(dir)).ok());
    confine::opener()?;
    if let Some(watch) = watch {
        let message = ReaderToDispatcher::Watch;
        dispatcher.send(&message, &[watch.as_fd()]).map_err(io::Error::other)?;
    }
    let last = match dir.map(|dir| send_all(Path::new(&dir), &mut dispatcher)).transpose() {
        Ok(_) => ReaderToDispatcher::End,
        Err(mut reason) => {
            reason.truncate(reason.floor_char_boundary(RULE_ERROR_BYTES_MAX));
            ReaderToDispatcher::Failed(reason.into_bytes().into())
        }
    };
    dispatcher.send(&last, &[]).map_err(io::Error::other)
}

/// All `*.yar` and `*.yara` files of the directory in order of their names. Hidden files and
/// subdirectories are not looked at.
fn send_all(
    dir: &Path,
    dispatcher: &mut Channel<ReaderToDispatcher, DispatcherToReader>,
) -> Result<(), String> {
    let say = |path: &Path, reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().as_bytes().to_vec();
    let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = list().map_err(|error| say(dir, &error))?;
    paths.retain(|path| is_rule_file(&name(path)));
    paths.sort_unstable();
    if paths.len() > RULE_FILES_MAX {
        return Err(say(dir, &format!("more than {RULE_FILES_MAX} rule files; join some")));
    }
    for chunk in paths.chunks(RULE_FILES_PER_MESSAGE_MAX) {
        let names = chunk.iter().map(|path| name(path).into()).collect();
        let open = |path: &PathBuf| open_regular(path).map_err(|error| say(path, &error));
        let files = chunk.iter().map(open).collect::<Result<Vec<File>, String>>()?;
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let message = ReaderToDispatcher::Rules(names);
        // The dispatcher reads at once: what is in flight stays far below the kernel's limit.
        dispatcher.send(&message, &borrowed).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Whether a file of this name is looked at.
#[must_use]
pub fn is_rule_file(name: &[u8]) -> bool {
    !name.starts_with(b".") && (name.ends_with(b".yar") || name.ends_with(b".yara"))
}

/// A watch for all that changes what [`send_all`] finds: files in the directory, and the directory or
/// symbolic link of that name, which may be replaced as a whole.
fn watch(dir: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
    let files = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO;
    // A directory has one watch here, whose flags are those of the last call.
    inotify::add_watch(&watch, dir, itself | WatchFlags::DONT_FOLLOW)?;
    inotify::add_watch(&watch, dir, itself | files | WatchFlags::ONLYDIR)?;
    Ok(watch)
}

fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}
