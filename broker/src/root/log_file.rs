//! The administrator's file for records, opened by the auditor while it is still root; judged when it is not.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens it only to append, or makes it for its owner to write and its group to read.
///
/// # Errors
/// As open(2).
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    File::options().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}
