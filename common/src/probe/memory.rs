//! Acts on memory: code that was not there before, and more of it than a limit counts.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;

use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::attempt::{grow_data, made, make_executable, map};
use super::processes::{ARGUMENTS, PROGRAM};
use super::{Act, Props, Tried};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// More than a worker's limit on data.
const TOO_MUCH: usize = 4 * 1024 * 1024 * 1024;

/// More than a worker's limit on addresses.
const ADDRESSES: usize = 1024 * 1024 * 1024 * 1024;

/// See memfd_create(2).
const MFD_NOEXEC_SEAL: i32 = 8;

/// A key that nobody has made anything with, it is to be hoped.
const KEY: i32 = 0x6664_6270;

/// Tries one of this group.
pub fn attempt(act: Act, props: &mut Props) -> Tried {
    let data = PROT_READ | PROT_WRITE;
    let own = MAP_PRIVATE | MAP_ANONYMOUS;
    match act {
        Act::MapExec => map(PAGE, PROT_READ | PROT_EXEC, own, None),
        Act::ProtectExec => make_executable(libc::SYS_mprotect),
        Act::PkeyProtect => make_executable(libc::SYS_pkey_mprotect),
        Act::MapFile => map(PAGE, PROT_READ, MAP_PRIVATE, Some(props.file())),
        Act::MapShared => map(PAGE, data, libc::MAP_SHARED | MAP_ANONYMOUS, None),
        Act::MapGrowing => map(PAGE, data, own | libc::MAP_GROWSDOWN, None),
        Act::MapLocked => map(PAGE, data, own | libc::MAP_LOCKED, None),
        Act::MapHuge => map(HUGE_PAGE, data, own | libc::MAP_HUGETLB, None),
        Act::MapTooMuch => map(TOO_MUCH, data, own | libc::MAP_NORESERVE, None),
        // They take no memory but for the tables that name them.
        Act::MapAddresses => map(ADDRESSES, PROT_READ, own | libc::MAP_NORESERVE, None),
        Act::GrowTooMuch => grow_data(i64::try_from(TOO_MUCH).unwrap_or(i64::MAX)),
        Act::Memfd => made!(SYS_memfd_create, c"fdbroker", MFD_NOEXEC_SEAL),
        Act::MemfdExec => execute_memory(),
        Act::MemfdSecret => made!(SYS_memfd_secret, 0),
        Act::Mlock => made!(SYS_mlock, &mut [0], 8),
        // For faults of user mode alone, which needs no privilege.
        Act::Userfaultfd => made!(SYS_userfaultfd, 1),
        // Only found, not made.
        Act::Shmget => made!(SYS_shmget, KEY, 0, 0),
        Act::Semget => made!(SYS_semget, KEY, 0, 0),
        Act::Msgget => made!(SYS_msgget, KEY, 0),
        Act::MqOpen => made!(SYS_mq_open, c"fdbroker", libc::O_RDONLY, 0, 0),
        _ => Err(Errno::EDOM),
    }
}

/// Copies a program into memory and executes that.
fn execute_memory() -> Tried {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let mut memory = File::from(memfd_create(c"fdbroker", MFdFlags::MFD_CLOEXEC)?);
    let mut program = File::open(PROGRAM.to_str().unwrap_or_default()).map_err(errno)?;
    std::io::copy(&mut program, &mut memory).map_err(errno)?;
    let own = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let own = CString::new(own).unwrap_or_default();
    match nix::unistd::execve(own.as_c_str(), ARGUMENTS, &[c""; 0])? {}
}
