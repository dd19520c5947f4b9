//! System call filters. What is not listed kills the process.
//!
//! The template's filter comes when the rules are compiled. From then on no memory becomes
//! executable, so no code but the program's and the rules' can ever run, and no thread or program is
//! started. A worker stacks a narrower one on it: the stricter answer wins, so the template's list
//! holds all that a worker needs to start. Calls for another architecture are killed by both.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::SealError;

/// Memory, time and the end: what the engine needs whatever it scans, seen from outside.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fadvise64,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pread64,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

/// Messages, children and what a child needs to become a worker.
const TEMPLATE: &[i64] = &[
    libc::SYS_dup3,
    libc::SYS_getppid,
    libc::SYS_getsockopt,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rseq,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// The flags with which fork(2) calls clone(2); any other bit asks for a thread or a namespace.
const FORK_FLAGS: u64 =
    (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | 0xff).cast_unsigned() as u64;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs the template's filter.
///
/// # Errors
/// [`SealError::Seccomp`].
pub fn template() -> Result<(), SealError> {
    let mut rules = common()?;
    for call in TEMPLATE {
        rules.insert(*call, Vec::new());
    }
    allow(&mut rules, libc::SYS_clone, &[without(0, !FORK_FLAGS)?])?;
    allow(&mut rules, libc::SYS_mmap, &[no_exec()?])?;
    allow(&mut rules, libc::SYS_fcntl, &[equal(1, libc::F_GETFL)?])?;
    allow(&mut rules, libc::SYS_socketpair, &[equal(0, libc::AF_UNIX)?])?;
    allow(&mut rules, libc::SYS_tgkill, &[equal(2, libc::SIGABRT)?])?;
    allow(&mut rules, libc::SYS_prlimit64, &[equal(0, 0)?])?;
    for option in [libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_PDEATHSIG, libc::PR_SET_NAME] {
        allow(&mut rules, libc::SYS_prctl, &[equal(0, option)?])?;
    }
    // Further filters can only take more away.
    allow(&mut rules, libc::SYS_seccomp, &[equal(0, 1)?])?;
    install(rules)
}

/// Installs the worker's filter: one socket, no more descriptors than it is passed.
///
/// # Errors
/// [`SealError::Seccomp`].
pub fn worker(socket: BorrowedFd<'_>) -> Result<(), SealError> {
    let socket = socket.as_raw_fd();
    let mut rules = common()?;
    allow(&mut rules, libc::SYS_recvmsg, &[equal(0, socket)?])?;
    allow(&mut rules, libc::SYS_sendto, &[equal(0, socket)?])?;
    for output in [socket, libc::STDERR_FILENO] {
        allow(&mut rules, libc::SYS_write, &[equal(0, output)?])?;
    }
    allow(&mut rules, libc::SYS_fcntl, &[equal(1, libc::F_GETFL)?])?;
    // Never a file: one that shrinks would kill the worker with SIGBUS. And nothing that the limit on
    // data does not count: memory that is shared, huge pages, what grows like a stack.
    let uncounted = libc::MAP_GROWSDOWN | libc::MAP_HUGETLB | libc::MAP_LOCKED;
    let kind = libc::MAP_TYPE | libc::MAP_ANONYMOUS | uncounted;
    let private = bits(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let counted = condition(3, SeccompCmpOp::MaskedEq(bits(kind)), private)?;
    allow(&mut rules, libc::SYS_mmap, &[no_exec()?, counted])?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let abort = [equal(0, own)?, equal(2, libc::SIGABRT)?];
    allow(&mut rules, libc::SYS_tgkill, &abort)?;
    install(rules)
}

fn common() -> Result<Rules, SealError> {
    let mut rules: Rules = COMMON.iter().map(|call| (*call, Vec::new())).collect();
    allow(&mut rules, libc::SYS_mprotect, &[no_exec()?])?;
    Ok(rules)
}

fn install(rules: Rules) -> Result<(), SealError> {
    let arch = std::env::consts::ARCH.try_into().map_err(failed)?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)
        .map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    apply_filter(&program).map_err(|error| SealError::Seccomp(error.to_string()))
}

/// Allows a call when all conditions hold, besides what already allows it.
fn allow(rules: &mut Rules, call: i64, conditions: &[SeccompCondition]) -> Result<(), SealError> {
    let rule = SeccompRule::new(conditions.to_vec()).map_err(failed)?;
    rules.entry(call).or_default().push(rule);
    Ok(())
}

fn no_exec() -> Result<SeccompCondition, SealError> {
    without(2, bits(libc::PROT_EXEC))
}

fn without(argument: u8, mask: u64) -> Result<SeccompCondition, SealError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), 0)
        .map_err(failed)
}

fn equal(argument: u8, value: i32) -> Result<SeccompCondition, SealError> {
    condition(argument, SeccompCmpOp::Eq, bits(value))
}

/// Compares the lower half of an argument, which is all that the kernel looks at for an `int`.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, SealError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(failed)
}

fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

fn failed(error: impl std::fmt::Display) -> SealError {
    SealError::Seccomp(error.to_string())
}
