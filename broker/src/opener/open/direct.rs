//! Opening an entry at once, without judging it before, where only root and the caller could exchange it.
//!
//! Runs in the opener with the caller's identity. A name that is exchanged at the right moment could
//! make it open a FIFO, whose writer would then go on, or a device: nothing that the caller could not
//! do as well, so it matters only when another user sets the trap. (The root of a container counts as
//! root here: docs/threat-model.md.) Whatever is not a plain file after all is left to the careful way.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, fcntl_getfl, fcntl_setfl, fstat, openat2};
use rustix::io::Errno;

use super::node::About;
use super::{OpenContext, VettedFile};
use crate::opener::filesystem::RealDevice;

/// A directory of a local file system in which nobody but root and the caller may make, remove or
/// rename entries. (Where there is a list of rights, the group's bits are its mask.)
#[derive(Debug, Clone, Copy)]
pub(in crate::opener) struct Settled {
    owner: u32,
}

/// Owner of what has none here: somebody of another user namespace, or of nobody's.
const OVERFLOW_UID: u32 = 65_534;

impl Settled {
    /// Judges a directory.
    #[must_use]
    pub(in crate::opener) fn vet(
        directory: About,
        device: RealDevice,
        caller: u32,
    ) -> Option<Self> {
        let owner = directory.uid;
        let theirs = directory.mode.intersects(Mode::WGRP | Mode::WOTH);
        let trusted = owner == 0 || (owner == caller && owner != OVERFLOW_UID);
        (trusted && !theirs && device.is_local()).then_some(Self { owner })
    }
}

impl OpenContext {
    /// Opens an entry that its directory lists as a regular file. `None`: it is to be looked at with
    /// care, for it is not one, lies on another mount, or cannot be opened just so.
    pub(in crate::opener) fn read_entry(
        &self,
        directory: BorrowedFd<'_>,
        settled: Settled,
        name: &[u8],
    ) -> Option<VettedFile> {
        // One component leads nowhere else. `BENEATH` would say the same, and cost a global lock and two
        // references each time.
        if name.contains(&b'/') || name == b".." {
            return None;
        }
        let strict =
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let plain =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |also| openat2(directory, name, plain | also, Mode::empty(), strict);
        // Who owns a directory owns most of what is in it.
        let unnoticed = if settled.owner == self.uid { OFlags::NOATIME } else { OFlags::empty() };
        let opened = match open(unnoticed) {
            Err(Errno::PERM) if !unnoticed.is_empty() => open(OFlags::empty()),
            result => result,
        };
        let opened = opened.ok()?;
        let stat = fstat(&opened).ok()?;
        let file = VettedFile::regular(opened, &stat)?;
        if stat.st_uid == self.uid && unnoticed.is_empty() {
            // A refusal is without consequence: it was opened as most programs do.
            let _ =
                fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags | OFlags::NOATIME));
        }
        Some(file)
    }
}
