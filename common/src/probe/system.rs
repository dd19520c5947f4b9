//! Acts on the whole machine. Where nothing forbids them they ask for what is so already, or for what
//! does not exist.

use std::ffi::CStr;

use libc::AT_FDCWD;
use nix::errno::Errno;

use super::attempt::made;
use super::{Act, Props, Tried};

const ABSENT: &CStr = c"/nonexistent";
const KEY: &CStr = c"fdbroker-probe";
const PROCESS_KEYRING: i32 = -2;

/// Tries one of this group.
pub fn attempt(act: Act, _props: &mut Props) -> Tried {
    mounts_and_engines(act).or_else(|errno| match errno {
        Errno::EDOM => administration(act),
        errno => Err(errno),
    })
}

fn mounts_and_engines(act: Act) -> Tried {
    match act {
        Act::Mount => made!(SYS_mount, c"none", ABSENT, c"tmpfs", 0, 0),
        Act::Umount => made!(SYS_umount2, ABSENT, 0),
        Act::Fsopen => made!(SYS_fsopen, c"tmpfs", 0),
        Act::OpenTree => made!(SYS_open_tree, AT_FDCWD, c"/", 1),
        Act::MoveMount => made!(SYS_move_mount, -1, c"", AT_FDCWD, ABSENT, 4),
        Act::MountSetattr => made!(SYS_mount_setattr, AT_FDCWD, ABSENT, 0, &mut [0; 4], 32),
        Act::PivotRoot => made!(SYS_pivot_root, ABSENT, ABSENT),
        // An array of one value.
        Act::Bpf => {
            let mut map = [0; 9];
            map[0] = 2 | 4 << 32;
            map[1] = 4 | 1 << 32;
            made!(SYS_bpf, 0, &mut map, 72)
        }
        Act::IoUring => made!(SYS_io_uring_setup, 1, &mut [0; 15]),
        // Of the kernel's own making, for this process.
        Act::PerfEvent => {
            let mut attributes = [0; 16];
            attributes[0] = 1 | 128 << 32;
            made!(SYS_perf_event_open, &mut attributes, 0, -1, -1, 0)
        }
        Act::Keyctl => made!(SYS_keyctl, 0, PROCESS_KEYRING, 1),
        Act::AddKey => {
            made!(SYS_add_key, c"user", KEY, b"x".as_slice(), 1, PROCESS_KEYRING)
        }
        Act::RequestKey => made!(SYS_request_key, c"user", KEY, 0, 0),
        Act::InitModule => made!(SYS_init_module, 0, 0, c""),
        Act::DeleteModule => made!(SYS_delete_module, KEY, libc::O_NONBLOCK),
        _ => Err(Errno::EDOM),
    }
}

fn administration(act: Act) -> Tried {
    match act {
        // Flags that there are not.
        Act::KexecLoad => made!(SYS_kexec_load, 0, 0, 0, 0xff00),
        // Without the numbers that make it one.
        Act::Reboot => made!(SYS_reboot, 0, 0, 0),
        Act::Swapon => made!(SYS_swapon, ABSENT, 0),
        Act::Acct => made!(SYS_acct, ABSENT),
        Act::Quotactl => made!(SYS_quotactl, -1, ABSENT, 0, 0),
        // How large it is.
        Act::Syslog => made!(SYS_syslog, 10, 0, 0),
        // To no time, but permission is asked for.
        Act::SetTime => made!(SYS_settimeofday, 0, 0),
        // One that cannot be set.
        Act::ClockSettime => {
            made!(SYS_clock_settime, libc::CLOCK_MONOTONIC, &mut [0; 2])
        }
        Act::Adjtimex => made!(SYS_adjtimex, &mut [0; 26]),
        Act::Sethostname => made!(SYS_sethostname, c"", -1),
        Act::Setdomainname => made!(SYS_setdomainname, c"", -1),
        Act::TimerCreate => {
            made!(SYS_timer_create, libc::CLOCK_MONOTONIC, 0, &mut [0])
        }
        Act::Setitimer => made!(SYS_setitimer, 0, &mut [0; 4], 0),
        Act::Membarrier => made!(SYS_membarrier, 0, 0, 0),
        Act::Ioprio => made!(SYS_ioprio_set, 1, 0, 0),
        _ => Err(Errno::EDOM),
    }
}
