//! An executable that another user can start although no path leads that user to it.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Opens an executable so that a child with any uid can start it as [`program`].
///
/// With umask 077 cargo builds files that are executable for their owner alone; such a file is
/// copied into memory, where every descriptor has mode 0777 (memfd_create(2)).
pub fn for_anybody(path: &Path) -> io::Result<File> {
    let mut original = File::open(path)?;
    if original.metadata()?.mode() & 0o001 != 0 {
        return Ok(original);
    }
    let mut copy = File::from(memfd_create("example", MFdFlags::MFD_CLOEXEC)?);
    io::copy(&mut original, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

/// The path by which execve(2) finds an open file in a child that inherits the descriptor.
pub fn program(executable: &File) -> String {
    format!("/proc/self/fd/{}", executable.as_raw_fd())
}
