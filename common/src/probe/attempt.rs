//! System calls by number, with any arguments: the one unsafe file of this crate.
//!
//! Runs only in processes that exist to try one act and end. Calls that would change what is mapped
//! here have functions of their own; [`call`] makes none of them, so that what it is passed is all
//! that the kernel can write to.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};

use libc::c_long;
use nix::errno::Errno;
use rustix::process::Pid;

use super::Tried;

/// One argument of a call.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A number, or no address at all.
    Number(i64),
    /// A descriptor.
    Fd(BorrowedFd<'a>),
    /// A process.
    Process(Pid),
    /// A name.
    Name(&'a CStr),
    /// Bytes that the kernel reads.
    Bytes(&'a [u8]),
    /// Several pieces of bytes that the kernel reads.
    Slices(&'a [IoSlice<'a>]),
    /// Words that the kernel reads or writes.
    Words(&'a mut [u64]),
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Arg<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<BorrowedFd<'a>> for Arg<'a> {
    fn from(descriptor: BorrowedFd<'a>) -> Self {
        Self::Fd(descriptor)
    }
}

impl From<Pid> for Arg<'_> {
    fn from(process: Pid) -> Self {
        Self::Process(process)
    }
}

impl<'a> From<&'a CStr> for Arg<'a> {
    fn from(name: &'a CStr) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a [IoSlice<'a>]> for Arg<'a> {
    fn from(slices: &'a [IoSlice<'a>]) -> Self {
        Self::Slices(slices)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a mut [u64; N]> for Arg<'a> {
    fn from(words: &'a mut [u64; N]) -> Self {
        Self::Words(words)
    }
}

/// Makes a call by its number, for its success alone: `made!(SYS_kill, pid, 0)`.
macro_rules! made {
    ($number:ident $(, $arg:expr)*) => {
        $crate::probe::attempt::call(libc::$number, [$($crate::probe::attempt::Arg::from($arg)),*])
            .map(drop)
    };
}
pub(super) use made;

/// Calls that change this process's memory or make a second flow of control in it.
const OWN_FUNCTION: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_rt_sigreturn,
    libc::SYS_shmat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Makes a call by its number; the arguments that are left out are 0.
pub fn call<const N: usize>(number: c_long, args: [Arg<'_>; N]) -> Result<i64, Errno> {
    if OWN_FUNCTION.contains(&number) {
        return Err(Errno::EDOM);
    }
    let mut raw = [0_i64; 6];
    for (place, arg) in raw.iter_mut().zip(args) {
        *place = match arg {
            Arg::Number(number) => number,
            Arg::Fd(descriptor) => descriptor.as_raw_fd().into(),
            Arg::Process(process) => Pid::as_raw(Some(process)).into(),
            Arg::Name(name) => address(name.as_ptr()),
            Arg::Bytes(bytes) => address(bytes.as_ptr()),
            // They have the layout of struct iovec.
            Arg::Slices(slices) => address(slices.as_ptr()),
            Arg::Words(words) => address(words.as_mut_ptr()),
        };
    }
    let [a, b, c, d, e, f] = raw;
    // SAFETY: every address among the arguments is that of a reference that lives beyond the call, and
    // words that the kernel may write are borrowed for that. Callers have no other addresses: they
    // contain no unsafe code, and the numbers that they give are lengths, flags and ids; how much the
    // kernel writes to words is upheld by the callers, who name rooms of at least that size. What
    // changes mappings or returns twice is refused above.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

fn address<T>(pointer: *const T) -> i64 {
    pointer.expose_provenance().cast_signed() as i64
}

/// Maps memory anew and gives it back.
pub fn map(length: usize, protection: i32, flags: i32, file: Option<BorrowedFd<'_>>) -> Tried {
    let page = mapping(length, protection, flags, file)?;
    // SAFETY: unmaps exactly what was mapped a moment ago, to which there is no reference.
    Errno::result(unsafe { libc::munmap(page.as_ptr(), length) }).map(drop)
}

fn mapping(
    length: usize,
    protection: i32,
    flags: i32,
    file: Option<BorrowedFd<'_>>,
) -> Result<NonNull<libc::c_void>, Errno> {
    let file = file.map_or(-1, |file| file.as_raw_fd());
    // SAFETY: without MAP_FIXED, which no caller asks for, the kernel takes memory that is not in use.
    let page =
        unsafe { libc::mmap(null_mut(), length, protection, flags & !libc::MAP_FIXED, file, 0) };
    if page == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(page).ok_or(Errno::EFAULT)
}

/// Maps a page as data and makes it executable by this call, which takes a page like mprotect(2).
pub fn make_executable(number: c_long) -> Tried {
    let length = 4096;
    let data = libc::PROT_READ | libc::PROT_WRITE;
    let page = mapping(length, data, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)?;
    // SAFETY: the page is ours alone and nothing refers to it; its protection is all that changes.
    let result = unsafe {
        libc::syscall(number, page.as_ptr(), length, libc::PROT_READ | libc::PROT_EXEC, -1)
    };
    Errno::result(result).map(drop)
}

/// Moves the end of the data segment up by so much, and back.
pub fn grow_data(bytes: i64) -> Tried {
    // SAFETY: brk(2) with 0 only tells where the end is. It is moved up into memory that is not in use
    // and back to where the allocator left it, with no allocation in between.
    unsafe {
        let end = libc::syscall(libc::SYS_brk, 0);
        let moved = libc::syscall(libc::SYS_brk, end.saturating_add(bytes)) != end;
        libc::syscall(libc::SYS_brk, end);
        if moved { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

/// Makes a process or thread by this call, whose first argument is flags, or a structure; what is made
/// ends at once, without touching the memory that it may share with us.
#[cfg(target_arch = "x86_64")]
pub fn start_flow(number: c_long, first: Arg<'_>, second: i64) -> Tried {
    let first = match first {
        Arg::Number(number) => number,
        Arg::Words(words) => address(words.as_mut_ptr()),
        _ => return Err(Errno::EDOM),
    };
    let result: i64;
    // SAFETY: the call takes flags or a structure that is borrowed, and no address of a stack. The new
    // flow of control begins behind `syscall` with 0 in rax and does nothing but exit(2), which ends
    // that flow alone: it writes to no memory. For the one that asked it is a call like any other, of
    // which the kernel changes rax, rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, 60",
            "xor edi, edi",
            "syscall",
            "2:",
            inlateout("rax") number => result,
            inlateout("rdi") first => _,
            in("rsi") second,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    told(result)
}

/// The same where only the C library can do it: without memory that is shared.
#[cfg(not(target_arch = "x86_64"))]
pub fn start_flow(number: c_long, first: Arg<'_>, second: i64) -> Tried {
    let first = match first {
        Arg::Number(flags) if flags & i64::from(libc::CLONE_VM) != 0 => return Err(Errno::EDOM),
        Arg::Number(number) => number,
        Arg::Words(words) => address(words.as_mut_ptr()),
        _ => return Err(Errno::EDOM),
    };
    // SAFETY: without CLONE_VM the new process has a copy of our memory, as after fork(2), and does
    // nothing but _exit(2).
    unsafe {
        let result = libc::syscall(number, first, second, 0, 0, 0);
        if result == 0 {
            libc::_exit(0);
        }
        Errno::result(result).map(drop)
    }
}

/// getpid(2) by its number on i386.
#[cfg(target_arch = "x86_64")]
pub fn as_i386() -> Tried {
    const GETPID: i64 = 20;
    let result: i64;
    // SAFETY: getpid(2) has no arguments and touches no memory; interrupt 0x80 changes rax, and on
    // older kernels r8 to r11.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") GETPID => result,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    told(result)
}

#[cfg(target_arch = "x86_64")]
fn told(result: i64) -> Tried {
    match i32::try_from(result) {
        Ok(errno @ -4095..0) => Err(Errno::from_raw(errno.saturating_neg())),
        _ => Ok(()),
    }
}

/// The version of Landlock that the kernel has; 0 without.
#[must_use]
pub fn landlock_abi() -> u32 {
    const VERSION: i64 = 1;
    let number = libc::SYS_landlock_create_ruleset;
    let asked = call(number, [Arg::Number(0), Arg::Number(0), Arg::Number(VERSION)]);
    asked.ok().and_then(|abi| u32::try_from(abi).ok()).unwrap_or(0)
}
