//! Acts on what a process is: identity, capabilities, its own restrictions, the shape of its calls.

use nix::errno::Errno;

use super::attempt::made;
#[cfg(target_arch = "x86_64")]
use super::attempt::{Arg, as_i386, call};
use super::{Act, Props, Tried};

const CAPABILITY_VERSION: u64 = 0x2008_0522;
const CAP_SYS_ADMIN: i32 = 21;

/// Tries one of this group.
pub fn attempt(act: Act, _props: &mut Props) -> Tried {
    match act {
        Act::Setuid => made!(SYS_setuid, 0),
        Act::Setresuid => made!(SYS_setresuid, 0, 0, 0),
        Act::Setresgid => made!(SYS_setresgid, 0, 0, 0),
        Act::Setfsuid => made!(SYS_setfsuid, 0),
        Act::Setgroups => made!(SYS_setgroups, 0, 0),
        // All three sets full.
        Act::Capset => made!(SYS_capset, &mut [CAPABILITY_VERSION], &mut [u64::MAX; 3]),
        Act::CapAmbient => {
            let raise = libc::PR_CAP_AMBIENT_RAISE;
            made!(SYS_prctl, libc::PR_CAP_AMBIENT, raise, CAP_SYS_ADMIN, 0, 0)
        }
        Act::Keepcaps => made!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0),
        Act::Dumpable => made!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0),
        Act::NoNewPrivs => made!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0),
        Act::UnsetSeccomp => made!(SYS_prctl, libc::PR_SET_SECCOMP, 0, 0, 0, 0),
        // Without a program, so that it ends with EFAULT where nothing forbids it.
        Act::AddFilter => {
            made!(SYS_seccomp, i64::from(libc::SECCOMP_SET_MODE_FILTER), 0, 0)
        }
        Act::Pdeathsig => made!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0),
        Act::SetName => made!(SYS_prctl, libc::PR_SET_NAME, c"another", 0, 0, 0),
        // What it has already.
        Act::Personality => made!(SYS_personality, 0xffff_ffff_i64),
        Act::Landlock => made!(SYS_landlock_create_ruleset, 0, 0, 1),
        #[cfg(target_arch = "x86_64")]
        Act::I386 => as_i386(),
        #[cfg(target_arch = "x86_64")]
        Act::X32 => {
            const X32: libc::c_long = 0x4000_0000;
            call(libc::SYS_getpid | X32, [] as [Arg<'_>; 0]).map(drop)
        }
        #[cfg(target_arch = "x86_64")]
        Act::ModifyLdt => made!(SYS_modify_ldt, 0, &mut [0; 2], 16),
        #[cfg(target_arch = "x86_64")]
        Act::ArchPrctl => {
            const GET_FS: i32 = 0x1003;
            made!(SYS_arch_prctl, GET_FS, &mut [0])
        }
        #[cfg(target_arch = "x86_64")]
        Act::Iopl => made!(SYS_iopl, 0),
        _ => Err(Errno::EDOM),
    }
}
