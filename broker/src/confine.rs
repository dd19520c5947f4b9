//! The fences of the unprivileged roles of this executable: opener, dispatcher and auditor.
//!
//! Runs in the role that it fences, after the change of identity and inside the broker's fence, which
//! all but the auditor inherit. Nothing undoes it.

use std::io;
use std::os::fd::BorrowedFd;

use landlock::{AccessFs, BitFlags, PathBeneath, RulesetCreatedAttr, Scope};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::calls;
use crate::root::fence;

/// Memory, time, signals, the end of a process; sockets that are open already.
#[rustfmt::skip]
const BASE: &[i64] = calls![
    SYS_brk SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_exit SYS_exit_group SYS_fcntl SYS_fstat
    SYS_futex SYS_getpid SYS_getrandom SYS_getsockopt SYS_gettid SYS_madvise SYS_mremap SYS_munmap
    SYS_nanosleep SYS_ppoll SYS_read SYS_recvfrom SYS_recvmsg SYS_restart_syscall SYS_rt_sigaction
    SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_yield SYS_sendmsg SYS_sendto SYS_sigaltstack SYS_tgkill
    SYS_write SYS_writev
];

#[cfg(target_arch = "x86_64")]
const POLL: &[i64] = calls![SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[i64] = &[];

/// Opening for reading, walking, and reading the table of rule names.
#[rustfmt::skip]
const OPENER: &[i64] = calls![
    SYS_fstatfs SYS_getdents64 SYS_lseek SYS_newfstatat SYS_openat SYS_openat2 SYS_pread64 SYS_statfs
    SYS_statx
];

/// All that the auditor may do besides what it may under conditions. No sendmsg(2), so no descriptor leaves it.
#[rustfmt::skip]
const AUDITOR: &[i64] = calls![
    SYS_brk SYS_clock_gettime SYS_close SYS_exit SYS_exit_group SYS_fstat SYS_futex SYS_getpid SYS_getrandom
    SYS_getsockopt SYS_gettid SYS_madvise SYS_mremap SYS_munmap SYS_ppoll SYS_recvfrom SYS_recvmsg
    SYS_restart_syscall SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_yield SYS_sigaltstack
    SYS_tgkill SYS_write
];

/// Accepting scanners and administrators.
const DISPATCHER: &[i64] = calls![SYS_accept4];

/// Fences an opener: it may open for reading what its identity may, and nothing else new. No write,
/// exec, process, socket, identity, `open_by_handle_at` or executable memory.
///
/// # Errors
/// When the kernel refuses; the process must end then.
pub fn opener() -> io::Result<()> {
    fence::enforce(fence::read_only(BitFlags::EMPTY, Scope::AbstractUnixSocket | Scope::Signal)?)?;
    seccomp(OPENER)
}

/// Fences an opener for granted trees: as [`opener`], and it reads nothing but what lies beneath these.
///
/// # Errors
/// As [`opener`].
pub fn granted_opener<'t>(trees: impl IntoIterator<Item = BorrowedFd<'t>>) -> io::Result<()> {
    let scope = Scope::AbstractUnixSocket | Scope::Signal;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = fence::read_only(reading, scope)?;
    for tree in trees {
        rules = rules.add_rule(PathBeneath::new(tree, reading)).map_err(io::Error::other)?;
    }
    fence::enforce(rules)?;
    seccomp(OPENER)
}

/// Fences the dispatcher: it opens nothing at all.
///
/// # Errors
/// As [`opener`].
pub fn dispatcher() -> io::Result<()> {
    fence::enforce(fence::read_only(BitFlags::EMPTY, Scope::AbstractUnixSocket | Scope::Signal)?)?;
    seccomp(DISPATCHER)
}

/// Fences the auditor: it writes where it could before, and reads links below one held directory, /proc.
/// There is no Landlock, which would hide from it what processes outside of its own domain execute. What
/// is open only to append stays so.
///
/// # Errors
/// As [`opener`].
pub fn auditor(proc: i32, file: Option<i32>) -> io::Result<()> {
    let file = fence::bits(file.unwrap_or(proc));
    let of_others = fence::allow_if(libc::SYS_fcntl, 0, SeccompCmpOp::Ne, file)?;
    let proc = fence::bits(proc);
    // To whom it is connected already. A pointer: all of it is compared.
    let to = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    let to = to.and_then(|to| SeccompRule::new(vec![to])).map_err(io::Error::other)?;
    let to_nobody = (libc::SYS_sendto, vec![to]);
    let of_proc = fence::allow_if(libc::SYS_readlinkat, 0, SeccompCmpOp::Eq, proc)?;
    allow(&[AUDITOR, POLL].concat(), &[to_nobody, of_proc, of_others])
}

fn seccomp(own: &[i64]) -> io::Result<()> {
    allow(&[BASE, POLL, own].concat(), &[])
}

/// Allows these calls, and memory that is not executable.
fn allow(calls: &[i64], also: &[(i64, Vec<SeccompRule>)]) -> io::Result<()> {
    let never_executable = || SeccompCmpOp::MaskedEq(fence::bits(libc::PROT_EXEC));
    let plain = calls.iter().map(|call| (*call, Vec::new())).chain(also.iter().cloned());
    fence::seccomp(plain.chain([
        fence::allow_if(libc::SYS_mmap, 2, never_executable(), 0)?,
        fence::allow_if(libc::SYS_mprotect, 2, never_executable(), 0)?,
    ]))
}
