//! Acts on files and descriptors. Those by name are tried on files of who tries them.

use std::ffi::{CStr, CString};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};

use libc::{AT_FDCWD, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TMPFILE, O_WRONLY};
use nix::errno::Errno;

use super::attempt::made;
use super::props::Handle;
use super::{Act, Props, Tried};

const XATTR: &CStr = c"user.fdbroker";

/// Tries one of this group.
pub fn attempt(act: Act, props: &mut Props) -> Tried {
    by_descriptor(act, props).or_else(|errno| match errno {
        Errno::EDOM => by_name(act, props),
        errno => Err(errno),
    })
}

/// What name_to_handle_at(2) says of a file.
pub fn handle(path: &CStr) -> Result<Handle, Errno> {
    let mut handle: Handle = [0; _];
    // The first half word says how much room there is behind the header.
    handle[0] = 128;
    let mut mount = [0];
    made!(SYS_name_to_handle_at, AT_FDCWD, path, &mut handle, &mut mount, 0)?;
    Ok(handle)
}

fn by_descriptor(act: Act, props: &Props) -> Tried {
    let file = props.file();
    let socket = props.sockets.0.as_fd();
    let byte = b"x".as_slice();
    let pieces = [IoSlice::new(b"x")];
    match act {
        Act::Read => made!(SYS_read, file, &mut [0], 8),
        Act::Write => made!(SYS_write, file, byte, 1),
        Act::Writev => made!(SYS_writev, file, pieces.as_slice(), 1),
        Act::Pwrite => made!(SYS_pwrite64, file, byte, 1, 0),
        Act::Pwritev => made!(SYS_pwritev, file, pieces.as_slice(), 1, 0, 0),
        Act::Ftruncate => made!(SYS_ftruncate, file, 0),
        Act::Fallocate => made!(SYS_fallocate, file, 0, 0, 1),
        Act::Fchmod => made!(SYS_fchmod, file, 0o666),
        Act::Fchown => made!(SYS_fchown, file, -1, -1),
        Act::Futimens => made!(SYS_utimensat, file, 0, 0, 0),
        Act::Fsetxattr => made!(SYS_fsetxattr, file, XATTR, byte, 1, 0),
        Act::Flock => made!(SYS_flock, file, libc::LOCK_SH | libc::LOCK_NB),
        Act::Lease => made!(SYS_fcntl, file, libc::F_SETLEASE, libc::F_RDLCK),
        Act::SetFlags => made!(SYS_fcntl, file, libc::F_SETFL, libc::O_NONBLOCK),
        Act::Ioctl => made!(SYS_ioctl, file, libc::FIONREAD.cast_signed(), &mut [0]),
        Act::Dup => made!(SYS_dup, file),
        Act::DupFcntl => made!(SYS_fcntl, file, libc::F_DUPFD_CLOEXEC, 0),
        Act::Sendfile => made!(SYS_sendfile, socket, file, 0, 1),
        Act::Splice => made!(SYS_splice, file, 0, socket, 0, 1, 0),
        Act::CopyRange => made!(SYS_copy_file_range, file, 0, file, 0, 1, 0),
        Act::Reopen => made!(SYS_openat, AT_FDCWD, link(props).as_c_str(), O_RDONLY),
        Act::ReopenWrite => made!(SYS_openat, AT_FDCWD, link(props).as_c_str(), O_WRONLY),
        _ => Err(Errno::EDOM),
    }
}

fn by_name(act: Act, props: &mut Props) -> Tried {
    let (path, new) = (props.path.as_c_str(), props.new.as_c_str());
    let (place, surplus) = (props.place.as_c_str(), props.surplus.as_c_str());
    let new_file = O_WRONLY | O_CREAT | O_EXCL;
    match act {
        #[cfg(target_arch = "x86_64")]
        Act::Open => made!(SYS_open, path, O_RDONLY),
        Act::OpenAt => made!(SYS_openat, AT_FDCWD, path, O_RDONLY),
        // Flags, mode and ways to resolve, all 0: for reading.
        Act::OpenAt2 => made!(SYS_openat2, AT_FDCWD, path, &mut [0, 0, 0], 24),
        Act::OpenWrite => made!(SYS_openat, AT_FDCWD, path, O_WRONLY),
        Act::Create => made!(SYS_openat, AT_FDCWD, new, new_file, 0o600),
        Act::CreateUnnamed => made!(SYS_openat, AT_FDCWD, place, O_TMPFILE | O_RDWR, 0o600),
        Act::HandleOf => handle(path).map(drop),
        Act::OpenHandle => {
            made!(SYS_open_by_handle_at, props.file.as_fd(), &mut props.handle, O_RDONLY)
        }
        Act::Truncate => made!(SYS_truncate, path, 0),
        Act::Unlink => made!(SYS_unlinkat, AT_FDCWD, surplus, 0),
        Act::Mkdir => made!(SYS_mkdirat, AT_FDCWD, new, 0o700),
        Act::Mknod => {
            made!(SYS_mknodat, AT_FDCWD, new, i64::from(libc::S_IFIFO | 0o600), 0)
        }
        Act::Link => made!(SYS_linkat, AT_FDCWD, path, AT_FDCWD, new, 0),
        Act::Symlink => made!(SYS_symlinkat, path, AT_FDCWD, new),
        Act::Rename => made!(SYS_renameat2, AT_FDCWD, surplus, AT_FDCWD, new, 0),
        Act::Chmod => made!(SYS_fchmodat, AT_FDCWD, path, 0o666),
        Act::Chown => made!(SYS_fchownat, AT_FDCWD, path, -1, -1, 0),
        Act::Touch => made!(SYS_utimensat, AT_FDCWD, path, 0, 0),
        Act::SetXattr => made!(SYS_setxattr, path, XATTR, b"x".as_slice(), 1, 0),
        Act::Chdir => made!(SYS_chdir, c"/"),
        Act::Chroot => made!(SYS_chroot, c"/"),
        _ => Err(Errno::EDOM),
    }
}

fn link(props: &Props) -> CString {
    CString::new(format!("/proc/self/fd/{}", props.file().as_raw_fd())).unwrap_or_default()
}
