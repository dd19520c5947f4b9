//! Opening for reading: the one place where the opener turns "this is visible" into "this is readable".
//!
//! Runs with the caller's identity and no other right, so the kernel decides. A file is reopened
//! through a held /proc/self/fd only after its type was judged (`node`), or opened at once where nobody
//! could exchange it (`direct`), always read-only; no name that a client wrote is resolved here, and no
//! descriptor that can write is ever passed on.

pub(in crate::opener) mod direct;
pub(in crate::opener) mod node;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use fdbroker_common::limits::{OPEN_DIRECTORIES_MAX, TARGETS_PER_MESSAGE_MAX};
use fdbroker_common::opener_link::Limits;
use fdbroker_common::outcome::{Change, Failure, Outcome};
use fdbroker_common::stamp::Stamp;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fcntl_getfl, fstat, fstatfs, openat,
};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::process::{Resource, geteuid, getrlimit};

use super::grants::GrantedTrees;
use node::{About, DirectoryNode, Node, ObjectId, Openable, RegularNode};

/// How often a reopen is tried that a lease or a signal prevents. The pauses double from one
/// millisecond, so a file with a lease costs 15 ms at most.
const REOPEN_ATTEMPTS_MAX: u32 = 5;

/// Descriptors for anything but files on their way to workers: links, targets, directories, one look-up.
const OTHER_DESCRIPTORS: usize = 2 * TARGETS_PER_MESSAGE_MAX + OPEN_DIRECTORIES_MAX + 32;

/// What every opening needs: a verified /proc/self/fd, the own user id, and limits; and the trees to which
/// it is restricted, if it is.
#[derive(Debug)]
pub struct OpenContext {
    descriptors: OwnedFd,
    uid: u32,
    descriptors_max: usize,
    limits: Limits,
    granted: Option<GrantedTrees>,
}

/// A regular file of a real file system, opened read-only as the caller. Only this can be sent to a
/// worker.
#[derive(Debug)]
#[must_use]
pub struct VettedFile {
    descriptor: OwnedFd,
    stamp: Stamp,
    id: ObjectId,
}

/// A directory of a real file system, opened as the caller for listing.
#[derive(Debug)]
pub struct DirectoryHandle {
    pub(in crate::opener) descriptor: OwnedFd,
    pub(in crate::opener) about: About,
    pub(in crate::opener) device: super::filesystem::RealDevice,
    /// Whether its entries may be opened at once.
    pub(in crate::opener) settled: Option<direct::Settled>,
}

/// What a descriptor from a client turned out to be.
#[derive(Debug)]
#[must_use]
pub enum Designated {
    /// A file to scan.
    File(VettedFile),
    /// A directory to walk.
    Directory(DirectoryHandle),
    /// Neither, and what to report.
    Not(Outcome),
}

impl OpenContext {
    /// Opens /proc/self/fd. To be called once the process has its final identity, and before it is
    /// fenced.
    ///
    /// # Errors
    /// As open(2), and `Unsupported` when no procfs is mounted on /proc.
    pub fn new() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
        if fstatfs(&descriptors)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "/proc is not a procfs"));
        }
        let limit = getrlimit(Resource::Nofile).current;
        let descriptors_max = limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let (uid, limits) = (geteuid().as_raw(), Limits::default());
        Ok(Self { descriptors, uid, descriptors_max, limits, granted: None })
    }

    /// The same for a caller who may take no more than this.
    #[must_use]
    pub fn bounded(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same for targets that are named beneath these trees, if there are any.
    #[must_use]
    pub fn granting(self, trees: Option<GrantedTrees>) -> Self {
        let held = trees.as_ref().map_or(0, GrantedTrees::len);
        let descriptors_max = self.descriptors_max.saturating_sub(held);
        Self { granted: trees, descriptors_max, ..self }
    }

    /// What the caller may take.
    pub(in crate::opener) fn limits(&self) -> Limits {
        self.limits
    }

    /// The trees beneath which targets are named; none if they are descriptors.
    pub(in crate::opener) fn granted(&self) -> Option<&GrantedTrees> {
        self.granted.as_ref()
    }

    /// How many files may be open for so many workers, so that no limit is ever exceeded.
    pub(in crate::opener) fn files_max(&self, workers: usize) -> usize {
        let room = self.descriptors_max.saturating_sub(OTHER_DESCRIPTORS).saturating_sub(workers);
        let told = usize::try_from(self.limits.files_in_flight).ok().filter(|files| *files > 0);
        room.min(told.unwrap_or(usize::MAX)).max(1)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What becomes of a file that cannot be opened.
    pub(in crate::opener) fn read_file(&self, file: &RegularNode) -> Result<VettedFile, Outcome> {
        let (descriptor, about) = file.parts();
        let opened = self.reopen(descriptor.as_fd(), about, OFlags::empty())?;
        let stat = fstat(&opened).map_err(outcome_of)?;
        VettedFile::new(opened, &stat, about.id)
    }

    /// Opens a directory for listing.
    ///
    /// # Errors
    /// What becomes of a directory that cannot be opened.
    pub(in crate::opener) fn read_directory(
        &self,
        directory: &DirectoryNode,
    ) -> Result<DirectoryHandle, Outcome> {
        let (descriptor, about) = directory.parts();
        Ok(DirectoryHandle {
            descriptor: self.reopen(descriptor.as_fd(), about, OFlags::DIRECTORY)?,
            about,
            device: directory.device(),
            settled: direct::Settled::vet(about, directory.device(), self.uid),
        })
    }

    fn reopen(
        &self,
        descriptor: BorrowedFd<'_>,
        about: About,
        also: OFlags,
    ) -> Result<OwnedFd, Outcome> {
        let name = DecInt::from_fd(descriptor);
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | also;
        if about.uid == self.uid {
            flags |= OFlags::NOATIME;
        }
        let mut attempt = 1;
        loop {
            match openat(&self.descriptors, name.as_c_str(), flags, Mode::empty()) {
                Ok(opened) => return Ok(opened),
                // Ownership is not always enough: id-mapped mounts, network file systems.
                Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => {
                    flags.remove(OFlags::NOATIME);
                }
                Err(Errno::INTR | Errno::AGAIN) if attempt < REOPEN_ATTEMPTS_MAX => {
                    // The first attempt has told the holder of the lease to give it up.
                    sleep(Duration::from_millis(1 << (attempt - 1)));
                    attempt += 1;
                }
                Err(Errno::AGAIN) => return Err(Outcome::Error(Failure::Busy)),
                Err(errno) => return Err(outcome_of(errno)),
            }
        }
    }
}

impl VettedFile {
    fn new(descriptor: OwnedFd, stat: &Stat, expected: ObjectId) -> Result<Self, Outcome> {
        let regular = Self::regular(descriptor, stat).filter(|file| file.id == expected);
        regular.ok_or(Outcome::Unstable(Change::Vanished))
    }

    fn regular(descriptor: OwnedFd, stat: &Stat) -> Option<Self> {
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let id = ObjectId { device: stat.st_dev, inode: stat.st_ino };
        regular.then(|| Self { descriptor, stamp: Stamp::of(stat), id })
    }

    /// Takes a client's own descriptor, if it can read and nothing else: holding it is the right to
    /// read, whatever the permissions say now.
    fn adopt(file: RegularNode) -> Result<Self, Outcome> {
        let (descriptor, about) = file.parts();
        let flags = fcntl_getfl(descriptor).map_err(outcome_of)?;
        // O_RDONLY is 0, so only the whole access mode tells it from the others.
        if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE != OFlags::RDONLY {
            return Err(Outcome::Denied);
        }
        let stat = fstat(descriptor).map_err(outcome_of)?;
        Self::new(file.into_descriptor(), &stat, about.id)
    }

    /// Which file it is.
    #[must_use]
    pub(in crate::opener) fn id(&self) -> ObjectId {
        self.id
    }

    /// Size and times when it was opened.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl AsFd for VettedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Vets a descriptor that a client sent: `O_PATH` or readable.
pub fn open_target(descriptor: OwnedFd, context: &OpenContext) -> Designated {
    match Node::of(descriptor) {
        Ok(node) => designated(node, context).unwrap_or_else(Designated::Not),
        Err(errno) => Designated::Not(outcome_of(errno)),
    }
}

/// As [`open_target`], of a descriptor about which the kernel has been asked.
pub(in crate::opener) fn designated(
    node: Node,
    context: &OpenContext,
) -> Result<Designated, Outcome> {
    match node.vet(None)? {
        Openable::Directory(directory) => {
            Ok(Designated::Directory(context.read_directory(&directory)?))
        }
        Openable::Regular(file) => match context.read_file(&file) {
            Err(Outcome::Denied) => VettedFile::adopt(file),
            result => result,
        }
        .map(Designated::File),
    }
}

/// What a failed system call on a held or listed object means for it.
pub(in crate::opener) fn outcome_of(errno: Errno) -> Outcome {
    match errno {
        Errno::ACCESS | Errno::PERM => Outcome::Denied,
        Errno::NOENT | Errno::STALE => Outcome::Unstable(Change::Vanished),
        other => Outcome::Error(Failure::System(other.raw_os_error())),
    }
}
