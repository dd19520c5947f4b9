//! Rule files, opened by the broker and read by the template alone.
//!
//! Runs in the broker with `DAC_READ_SEARCH` raised. The directory is the administrator's, named at
//! start; nothing here comes from a caller, and no content is read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fdbroker_common::limits::{RULE_FILES_MAX, RULE_FILES_PER_MESSAGE_MAX};

use super::privilege;
use crate::dispatch_link::BrokerToDispatcher;

/// Opens all `*.yar` and `*.yara` files of a directory, in order of their names, as messages for the
/// dispatcher. Hidden files and subdirectories are not looked at.
///
/// # Errors
/// One line for the administrator that names the file.
pub fn messages(dir: Option<&Path>) -> Result<Vec<(BrokerToDispatcher, Vec<OwnedFd>)>, String> {
    let say = |path: &Path, reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let mut paths = Vec::new();
    if let Some(dir) = dir {
        let list =
            || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        paths = privilege::with_read_search(list).map_err(|error| say(dir, &error))?;
    }
    let name =
        |path: &Path| path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    paths.retain(|path| {
        let name = name(path);
        !name.starts_with(b".") && (name.ends_with(b".yar") || name.ends_with(b".yara"))
    });
    paths.sort_unstable();
    if paths.len() > RULE_FILES_MAX {
        return Err(format!("more than {RULE_FILES_MAX} rule files; join some"));
    }
    let mut messages = Vec::new();
    for chunk in paths.chunks(RULE_FILES_PER_MESSAGE_MAX) {
        let names = chunk.iter().map(|path| name(path).into()).collect();
        let files = chunk.iter().map(|path| {
            privilege::with_read_search(|| open_regular(path)).map_err(|error| say(path, &error))
        });
        messages.push((BrokerToDispatcher::Rules(names), files.collect::<Result<_, _>>()?));
    }
    messages.push((BrokerToDispatcher::RulesEnd, Vec::new()));
    Ok(messages)
}

fn open_regular(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file.into())
    } else {
        Err(io::Error::other("not a regular file"))
    }
}
