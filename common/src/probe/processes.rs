//! Acts on processes: making them, looking into them, signalling them. Signals are all signal 0, which
//! asks for permission and does nothing.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use rustix::process::Pid;

use super::attempt::{Arg, made, start_flow};
use super::{Act, Props, Tried};

/// A program that every system has, told to do nothing.
pub(super) const PROGRAM: &CStr = c"/bin/sh";
/// See [`PROGRAM`].
pub(super) const ARGUMENTS: &[&CStr] = &[c"sh", c"-c", c":"];

const PRIO_PROCESS: i32 = 0;
const PTRACE_SEIZE: i32 = 0x4206;

/// Tries one of this group.
pub fn attempt(act: Act, props: &mut Props) -> Tried {
    starting(act)
        .or_else(|errno| match errno {
            Errno::EDOM => looking(act, props),
            errno => Err(errno),
        })
        .or_else(|errno| match errno {
            Errno::EDOM => governing(act, props),
            errno => Err(errno),
        })
}

fn starting(act: Act) -> Tried {
    let flags = |flags: i32| Arg::from(flags);
    match act {
        Act::Execve => match nix::unistd::execve(PROGRAM, ARGUMENTS, &[c""; 0])? {},
        Act::Execveat => {
            let (cwd, flags) = (rustix::fs::CWD, AtFlags::empty());
            match nix::unistd::execveat(cwd, PROGRAM, ARGUMENTS, &[c""; 0], flags)? {}
        }
        #[cfg(target_arch = "x86_64")]
        Act::Fork => start_flow(libc::SYS_fork, flags(0), 0),
        #[cfg(target_arch = "x86_64")]
        Act::Vfork => start_flow(libc::SYS_vfork, flags(0), 0),
        Act::Clone => start_flow(libc::SYS_clone, flags(libc::SIGCHLD), 0),
        Act::CloneThread => {
            let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
            start_flow(libc::SYS_clone, flags(thread), 0)
        }
        Act::CloneUser => {
            start_flow(libc::SYS_clone, flags(libc::CLONE_NEWUSER | libc::SIGCHLD), 0)
        }
        Act::Clone3 => {
            // struct clone_args: nothing but the signal at the end.
            let mut args = [0, 0, 0, 0, i64::from(libc::SIGCHLD).cast_unsigned(), 0, 0, 0];
            start_flow(libc::SYS_clone3, Arg::from(&mut args), 64)
        }
        Act::Unshare => made!(SYS_unshare, libc::CLONE_NEWUSER),
        _ => Err(Errno::EDOM),
    }
}

fn looking(act: Act, props: &Props) -> Tried {
    let (parent, own, held) = (props.parent, props.own, props.pidfd.as_fd());
    let pid = nix::unistd::Pid::from_raw(Pid::as_raw(Some(parent)));
    match act {
        Act::Setns => made!(SYS_setns, held, libc::CLONE_NEWUTS),
        Act::Ptrace => made!(SYS_ptrace, PTRACE_SEIZE, parent, 0, 0),
        Act::ReadOther => {
            let remote = [RemoteIoVec { base: std::ptr::from_ref(props).addr(), len: 1 }];
            let mut byte = [0];
            process_vm_readv(pid, &mut [IoSliceMut::new(&mut byte)], &remote).map(drop)
        }
        // To an address that nothing is ever mapped at.
        Act::WriteVm => {
            let remote = [RemoteIoVec { base: 0, len: 1 }];
            process_vm_writev(pid, &[IoSlice::new(b"x")], &remote).map(drop)
        }
        Act::Kcmp => made!(SYS_kcmp, own, parent, 0, 0, 0),
        Act::PidfdOpen => made!(SYS_pidfd_open, parent, 0),
        Act::PidfdGetfd => made!(SYS_pidfd_getfd, held, 0, 0),
        Act::PidfdSignal => made!(SYS_pidfd_send_signal, held, 0, 0, 0),
        Act::MadviseOther => {
            made!(SYS_process_madvise, held, [].as_slice() as &[u8], 0, libc::MADV_COLD, 0)
        }
        Act::KillParent => made!(SYS_kill, parent, 0),
        Act::KillInit => made!(SYS_kill, 1, 0),
        Act::TgkillParent => made!(SYS_tgkill, parent, parent, 0),
        Act::TgkillOwn => made!(SYS_tgkill, own, own, 0),
        Act::Tkill => made!(SYS_tkill, parent, 0),
        // struct siginfo: no signal, SI_QUEUE.
        Act::Sigqueue => {
            let mut about = [0; 16];
            about[1] = u64::from(libc::SI_QUEUE.cast_unsigned());
            made!(SYS_rt_sigqueueinfo, parent, 0, &mut about)
        }
        Act::Wait => made!(SYS_wait4, -1, 0, libc::WNOHANG, 0),
        _ => Err(Errno::EDOM),
    }
}

fn governing(act: Act, props: &Props) -> Tried {
    let unlimited = &mut [u64::MAX, u64::MAX];
    match act {
        Act::Setsid => made!(SYS_setsid),
        Act::Setpriority => made!(SYS_setpriority, PRIO_PROCESS, 0, 0),
        Act::Affinity => made!(SYS_sched_setaffinity, 0, 128, &mut [u64::MAX; 16]),
        Act::Scheduler => made!(SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &mut [0]),
        Act::PrlimitOther => {
            made!(SYS_prlimit64, props.parent, i64::from(libc::RLIMIT_NOFILE), 0, &mut [0, 0])
        }
        Act::PrlimitRaise => made!(SYS_prlimit64, 0, i64::from(libc::RLIMIT_CORE), unlimited, 0),
        Act::Setrlimit => made!(SYS_setrlimit, i64::from(libc::RLIMIT_CORE), unlimited),
        _ => Err(Errno::EDOM),
    }
}
