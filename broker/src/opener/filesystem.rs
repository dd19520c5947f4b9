//! Real file systems and those that only look like one (procfs, sysfs, cgroups, anonymous inodes).
//!
//! Runs in the opener with the caller's identity. An allow-list: whatever the kernel may bring, only
//! what is known to hold files is read. Nothing is remembered by device number beyond the life of a
//! descriptor that keeps that file system mounted, because numbers of anonymous devices are reused.

use std::os::fd::AsFd;

use fdbroker_common::outcome::{Failure, Outcome, SkipReason};
use rustix::fs::{fstatfs, major};
use rustix::io::retry_on_intr;

/// Device number of a file system that is known to hold files, for as long as a descriptor of it is
/// held next to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RealDevice {
    number: u64,
    local: bool,
}

/// FUSE, with a block device or without.
const FUSE: u32 = 0x6573_5546;

/// Magic numbers (statfs(2), linux/magic.h) of file systems without a block device that hold files, and
/// are this kernel's own: types, owners and rights are what a directory says, and no server's word.
#[rustfmt::skip]
const LOCAL: &[u32] = &[
    0x0102_1994, // tmpfs, also memfd and devtmpfs
    0x8584_58f6, // ramfs
    0x9584_58f6, // hugetlbfs
    0x9123_683e, // btrfs
    0xca45_1a4e, // bcachefs
];

/// The same of file systems that are, or may be, a server's; that show owner and mode of one layer and
/// entries of another; or whose lists of rights do not show in the mode.
#[rustfmt::skip]
const OTHERS: &[u32] = &[
    0x794c_7630, // overlayfs
    0x2fc1_2fc1, // zfs
    FUSE,        // also virtiofs
    0x0000_6969, // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x0000_517b, // smb
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x5346_414f, // OpenAFS
    0x6b41_4653, // kAFS
    0x7375_7245, // coda
    0x0bd0_0bd0, // lustre
    0x4750_4653, // gpfs
    0x2003_0528, // orangefs
    0x1983_0326, // beegfs
    0x0000_f15f, // ecryptfs
    0x6175_6673, // aufs
    0x6a65_6a62, // shiftfs
    0x2405_1905, // ubifs
    0x0000_72b6, // jffs2
    0xe0f5_e1e2, // erofs, backed by a file
    0x786f_4256, // vboxsf
    0xbacb_acbc, // vmhgfs
    0x7c7c_6673, // prl_fs
    0x00c0_ffee, // hostfs
    0x0000_0187, // autofs: nothing but directories, on which other file systems are mounted
];

impl RealDevice {
    /// Finds out whether an object, of which `device` is the device number, lies on a real file
    /// system. `neighbour`: what is already known, of an object whose descriptor is held.
    ///
    /// # Errors
    /// What becomes of an object that does not.
    pub(crate) fn vet(
        object: impl AsFd,
        device: u64,
        neighbour: Option<Self>,
    ) -> Result<Self, Outcome> {
        if let Some(known) = neighbour.filter(|known| known.number == device) {
            return Ok(known);
        }
        let about = retry_on_intr(|| fstatfs(object.as_fd()))
            .map_err(|errno| Outcome::Error(Failure::System(errno.raw_os_error())))?;
        // The kernel's type is signed on some architectures; magic numbers have 32 bits.
        match u32::try_from(about.f_type & 0xffff_ffff) {
            // Without a block device the kernel takes numbers with major 0.
            Ok(magic) if major(device) != 0 => Ok(Self { number: device, local: magic != FUSE }),
            Ok(magic) if LOCAL.contains(&magic) => Ok(Self { number: device, local: true }),
            Ok(magic) if OTHERS.contains(&magic) => Ok(Self { number: device, local: false }),
            _ => Err(Outcome::Skipped(SkipReason::PseudoFilesystem)),
        }
    }

    /// Whether types and owners of files are this kernel's word.
    pub(super) fn is_local(self) -> bool {
        self.local
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::RealDevice;
    use fdbroker_common::outcome::{Outcome, SkipReason};

    fn vet(path: &str) -> Result<RealDevice, Outcome> {
        let file = File::open(path).unwrap();
        let device = file.metadata().unwrap().dev();
        RealDevice::vet(&file, device, None)
    }

    #[test]
    fn file_systems_that_hold_files_are_real() {
        assert!(vet("/").is_ok());
        assert!(vet("/dev/shm").is_ok());
    }

    #[test]
    fn the_kernels_own_are_not() {
        for path in ["/proc", "/proc/version", "/proc/self/fd", "/sys"] {
            assert_eq!(vet(path), Err(Outcome::Skipped(SkipReason::PseudoFilesystem)), "{path}");
        }
    }
}
