//! What an `O_PATH` descriptor designates: identity and type, judged before anything is opened.
//!
//! Runs in the opener with the caller's identity. Nothing here can block on a FIFO, wake a device or
//! change a file: statx(2) on a descriptor is the only question that is asked, and it is asked with
//! `AT_STATX_DONT_SYNC`, because type and identity of an inode never change.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_common::outcome::{Outcome, SkipReason};
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, makedev, statx};
use rustix::io::{Errno, retry_on_intr};

use crate::opener::filesystem::RealDevice;

/// Device and inode number: which object it is, while a descriptor of it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::opener) struct ObjectId {
    /// Device number.
    pub(in crate::opener) device: u64,
    /// Inode number.
    pub(in crate::opener) inode: u64,
}

/// What statx(2) tells of an object.
#[derive(Debug, Clone, Copy)]
pub(in crate::opener) struct About {
    /// Which object.
    pub(in crate::opener) id: ObjectId,
    /// Of which type.
    pub(in crate::opener) kind: FileType,
    /// Whose.
    pub(in crate::opener) uid: u32,
    /// What its owner, its group (or any list of rights), and others may do.
    pub(in crate::opener) mode: Mode,
    /// Size, as far as known without asking a server.
    pub(in crate::opener) size: u64,
    /// The mount by which it was reached.
    pub(in crate::opener) mount: u64,
}

/// An object of any type, by a descriptor that need not be readable.
#[derive(Debug)]
pub(in crate::opener) struct Node {
    descriptor: OwnedFd,
    about: About,
}

/// A regular file of a real file system, not yet opened for reading.
#[derive(Debug)]
pub(in crate::opener) struct RegularNode(Node);

/// A directory of a real file system, not yet opened for reading.
#[derive(Debug)]
pub(in crate::opener) struct DirectoryNode {
    node: Node,
    device: RealDevice,
}

/// What may be opened.
#[derive(Debug)]
pub(in crate::opener) enum Openable {
    /// A regular file.
    Regular(RegularNode),
    /// A directory.
    Directory(DirectoryNode),
}

impl Node {
    /// Asks the kernel what a descriptor designates.
    ///
    /// # Errors
    /// As statx(2).
    pub(in crate::opener) fn of(descriptor: OwnedFd) -> Result<Self, Errno> {
        let wanted = StatxFlags::TYPE
            | StatxFlags::INO
            | StatxFlags::UID
            | StatxFlags::MODE
            | StatxFlags::SIZE
            | StatxFlags::MNT_ID;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = retry_on_intr(|| statx(&descriptor, c"", flags, wanted))?;
        let about = About {
            id: ObjectId {
                device: makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
            },
            kind: FileType::from_raw_mode(found.stx_mode.into()),
            uid: found.stx_uid,
            mode: Mode::from_raw_mode(found.stx_mode.into()),
            size: found.stx_size,
            mount: found.stx_mnt_id,
        };
        Ok(Self { descriptor, about })
    }

    /// To ask the kernel more.
    pub(in crate::opener) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// What is known of it.
    pub(in crate::opener) fn about(&self) -> About {
        self.about
    }

    /// Only a regular file or a directory of a real file system may be opened. `neighbour`: a
    /// device already known to be real, of an object whose descriptor is held.
    ///
    /// # Errors
    /// What becomes of anything else.
    pub(in crate::opener) fn vet(self, neighbour: Option<RealDevice>) -> Result<Openable, Outcome> {
        let reason = match self.about.kind {
            FileType::RegularFile | FileType::Directory => {
                let device = RealDevice::vet(&self.descriptor, self.about.id.device, neighbour)?;
                return Ok(if self.about.kind == FileType::Directory {
                    Openable::Directory(DirectoryNode { node: self, device })
                } else {
                    Openable::Regular(RegularNode(self))
                });
            }
            FileType::Symlink => SkipReason::SymbolicLink,
            FileType::Fifo => SkipReason::Fifo,
            FileType::Socket => SkipReason::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => SkipReason::Device,
            FileType::Unknown => SkipReason::UnknownType,
        };
        Err(Outcome::Skipped(reason))
    }
}

impl RegularNode {
    /// Descriptor and what is known.
    pub(in crate::opener) fn parts(&self) -> (&OwnedFd, About) {
        (&self.0.descriptor, self.0.about)
    }

    /// Gives the descriptor up.
    pub(in crate::opener) fn into_descriptor(self) -> OwnedFd {
        self.0.descriptor
    }
}

impl DirectoryNode {
    /// Descriptor and what is known.
    pub(in crate::opener) fn parts(&self) -> (&OwnedFd, About) {
        (&self.node.descriptor, self.node.about)
    }

    /// Its file system, known to be real while this or a descriptor opened from it is held.
    pub(in crate::opener) fn device(&self) -> RealDevice {
        self.device
    }

    /// Gives the descriptor up.
    pub(in crate::opener) fn into_descriptor(self) -> OwnedFd {
        self.node.descriptor
    }
}
