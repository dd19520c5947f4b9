//! Landlock and seccomp for the broker.
//!
//! Runs in the broker once it has started up; nothing undoes it. The fence is inherited by all its
//! children, so it allows what each of them needs to put up its own, stricter one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Newest Landlock that is asked for; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V7;

/// A list of system calls by their names.
#[macro_export]
macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Calls of the broker, and of its children until their own filter stands. The others fail with
/// `EPERM`: mount, ptrace, open_by_handle_at, keyctl, io_uring, bpf, unshare, modules and so on.
#[rustfmt::skip]
const CALLS: &[i64] = calls![
    SYS_accept4 SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_gettime SYS_clone3
    SYS_clock_nanosleep SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_execve SYS_execveat SYS_exit
    SYS_exit_group SYS_faccessat2 SYS_fadvise64 SYS_fcntl SYS_flock SYS_fstat SYS_fstatfs SYS_ftruncate
    SYS_futex SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getpid SYS_getppid
    SYS_getrandom SYS_getresgid SYS_getresuid SYS_getsockopt SYS_gettid SYS_getuid
    SYS_inotify_add_watch SYS_inotify_init1 SYS_ioctl SYS_kill
    SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_listen SYS_lseek
    SYS_madvise SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_nanosleep SYS_newfstatat
    SYS_openat SYS_openat2 SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2 SYS_ppoll SYS_prctl SYS_pread64
    SYS_prlimit64 SYS_pwrite64 SYS_read SYS_readlinkat SYS_recvfrom SYS_recvmsg SYS_restart_syscall
    SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_getaffinity SYS_sched_yield
    SYS_seccomp SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setgroups
    SYS_setresgid SYS_setresuid SYS_setsockopt SYS_shutdown SYS_sigaltstack SYS_signalfd4
    SYS_socketpair SYS_statfs SYS_statx SYS_tgkill SYS_umask SYS_uname SYS_unlinkat SYS_wait4 SYS_waitid
    SYS_write SYS_writev
];

/// Older names for some of them, which the C library still uses on x86-64.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[i64] = calls![
    SYS_access SYS_arch_prctl SYS_dup2 SYS_open SYS_poll SYS_readlink SYS_stat SYS_unlink SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Rules that refuse every access to files but reading, TCP, and what `also` and `scope` name.
///
/// Unless `also` names it, reading is not handled: it stays what the kernel grants the identity, on every mount,
/// and in every mount namespace that a passed descriptor may come from.
///
/// # Errors
/// When the kernel has no Landlock.
pub fn read_only(also: BitFlags<AccessFs>, scope: BitFlags<Scope>) -> io::Result<RulesetCreated> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access((AccessFs::from_all(LANDLOCK) & !reading) | also)
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(scope))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)
}

/// Puts rules into force for this process and its children.
///
/// # Errors
/// When the kernel enforces none of them.
pub fn enforce(rules: RulesetCreated) -> io::Result<()> {
    match rules.restrict_self().map_err(io::Error::other)?.ruleset {
        RulesetStatus::NotEnforced => Err(io::Error::other(
            "the kernel does not enforce Landlock; enable it (boot option lsm=landlock,...)",
        )),
        _ => Ok(()),
    }
}

/// Fences the broker: `exec` may be executed, in `sockets` sockets may be made and removed.
///
/// # Errors
/// As [`enforce`], and when seccomp refuses.
pub fn confine(exec: &[impl AsFd], sockets: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let add = |rules: RulesetCreated, fd: BorrowedFd<'_>, access: BitFlags<AccessFs>| {
        rules.add_rule(PathBeneath::new(fd, access)).map_err(io::Error::other)
    };
    let mut rules = read_only(BitFlags::EMPTY, Scope::AbstractUnixSocket.into())?;
    for file in exec {
        rules = add(rules, file.as_fd(), AccessFs::Execute.into())?;
    }
    // Standard streams of children point there.
    let null = std::fs::File::open("/dev/null")?;
    rules = add(rules, null.as_fd(), AccessFs::WriteFile.into())?;
    if let Some(dir) = sockets {
        rules = add(rules, dir, AccessFs::MakeSock | AccessFs::RemoveFile)?;
    }
    enforce(rules)?;
    let plain = [CALLS, OLDER].concat().into_iter().map(|call| (call, Vec::new()));
    let namespaces = (libc::CLONE_NEWNS | libc::CLONE_NEWUSER | libc::CLONE_NEWNET)
        | (libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP);
    let clone = allow_if(libc::SYS_clone, 0, SeccompCmpOp::MaskedEq(bits(namespaces)), 0)?;
    let socket = allow_if(libc::SYS_socket, 0, SeccompCmpOp::Eq, bits(libc::AF_UNIX))?;
    // Landlock does not see what is executed from memory. Since Linux 6.3 that can be ruled out.
    let noexec = rustix::fs::MemfdFlags::NOEXEC_SEAL;
    let mask = rustix::fs::memfd_create("", noexec).map_or(0, |_| noexec.bits().into());
    let memfd = allow_if(libc::SYS_memfd_create, 1, SeccompCmpOp::MaskedEq(mask), mask)?;
    seccomp(plain.chain([clone, socket, memfd]))?;
    // Its flags lie in memory, where no filter sees them. The C library then takes clone(2).
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    install([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, absent)
}

/// A call that is allowed only if one of its arguments compares so.
///
/// # Errors
/// When there is no such argument.
pub fn allow_if(
    call: i64,
    argument: u8,
    how: SeccompCmpOp,
    value: u64,
) -> io::Result<(i64, Vec<SeccompRule>)> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value);
    let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
    Ok((call, vec![rule.map_err(io::Error::other)?]))
}

/// Flags of the C library as the kernel sees them.
#[must_use]
pub fn bits(flags: libc::c_int) -> u64 {
    u64::from(flags.cast_unsigned())
}

/// Allows these calls, under their conditions if any; every other fails with `EPERM`.
///
/// # Errors
/// When the filter cannot be installed.
pub fn seccomp(calls: impl Iterator<Item = (i64, Vec<SeccompRule>)>) -> io::Result<()> {
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    install(calls.collect(), refusal, SeccompAction::Allow)
}

fn install(
    calls: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> io::Result<()> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(calls, others, these, arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}
