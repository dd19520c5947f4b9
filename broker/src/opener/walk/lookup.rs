//! One name in one held directory, to an `O_PATH` descriptor. Nothing is opened for reading here.
//!
//! Runs in the opener with the caller's identity. Without following, the name can lead nowhere but
//! to an entry of that very directory; magic links (/proc/PID/fd) are never followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_common::outcome::{Change, Failure, Outcome, SkipReason};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::opener::open::node::{DirectoryNode, Node, ObjectId, Openable};
use crate::opener::open::outcome_of;

use super::stack::OpenFrame;

/// How often a look-up is tried that a signal or a concurrent rename disturbs.
const LOOKUP_ATTEMPTS_MAX: u32 = 4;

/// An entry, and whether a symbolic link led to it.
pub(in crate::opener) struct Found {
    pub(in crate::opener) node: Node,
    pub(in crate::opener) by_link: bool,
}

/// How a name is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    /// Go where symbolic links lead.
    pub(super) follow_links: bool,
    /// The directory says that it is a directory: a file system that is mounted on demand may be
    /// mounted there, as listing it would.
    pub(super) automount: bool,
    /// Go to no other mount.
    pub(super) one_mount: bool,
}

/// Finds an entry.
///
/// # Errors
/// What becomes of an entry that cannot be found.
pub(super) fn look_up(
    directory: BorrowedFd<'_>,
    name: &[u8],
    how: Lookup,
) -> Result<Found, Outcome> {
    let mut strict =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    strict.set(ResolveFlags::NO_XDEV, how.one_mount);
    let plain = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = if how.automount {
        match open_path(directory, name, plain | OFlags::DIRECTORY, strict) {
            Err(Errno::NOTDIR) => open_path(directory, name, plain, strict),
            result => result,
        }
    } else {
        open_path(directory, name, plain, strict)
    };
    let node = entry.and_then(Node::of).map_err(|errno| match errno {
        Errno::XDEV if how.one_mount => Outcome::Skipped(SkipReason::OtherFilesystem),
        errno => outcome_of(errno),
    })?;
    if how.follow_links && node.about().kind == FileType::Symlink {
        let node = follow(directory, name)?;
        return Ok(Found { node, by_link: true });
    }
    Ok(Found { node, by_link: false })
}

/// Finds a directory again that was there before.
///
/// # Errors
/// What became of it.
pub(super) fn find_again(
    directory: BorrowedFd<'_>,
    name: &[u8],
    expected: ObjectId,
    (by_link, one_mount): (bool, bool),
) -> Result<DirectoryNode, Outcome> {
    let how = Lookup { follow_links: by_link, automount: false, one_mount };
    same_directory(look_up(directory, name, how)?.node, expected)
}

/// The directory above an open one, if it is still the expected one.
///
/// # Errors
/// What became of it.
pub(super) fn parent_of(
    below: &OpenFrame,
    expected: ObjectId,
    one_mount: bool,
) -> Result<DirectoryNode, Outcome> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_XDEV, one_mount);
    let parent = below.directory.as_fd();
    let node = open_path(parent, b"..", flags, resolve).and_then(Node::of).map_err(outcome_of)?;
    same_directory(node, expected)
}

fn same_directory(node: Node, expected: ObjectId) -> Result<DirectoryNode, Outcome> {
    let moved = Outcome::Unstable(Change::Moved);
    if node.about().id != expected {
        return Err(moved);
    }
    match node.vet(None)? {
        Openable::Directory(directory) => Ok(directory),
        Openable::Regular(_) => Err(moved),
    }
}

fn follow(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Node, Outcome> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match open_path(directory, name, flags, ResolveFlags::NO_MAGICLINKS).and_then(Node::of) {
        Ok(node) => Ok(node),
        // Nothing has vanished: the link leads nowhere.
        Err(Errno::NOENT) => Err(Outcome::Error(Failure::System(Errno::NOENT.raw_os_error()))),
        Err(Errno::LOOP) => Err(Outcome::Skipped(SkipReason::DirectoryLoop)),
        Err(errno) => Err(outcome_of(errno)),
    }
}

fn open_path(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut attempt = 1;
    loop {
        match openat2(directory, name, flags, Mode::empty(), resolve) {
            Err(Errno::INTR | Errno::AGAIN | Errno::XDEV) if attempt < LOOKUP_ATTEMPTS_MAX => {
                attempt += 1;
            }
            result => return result,
        }
    }
}
