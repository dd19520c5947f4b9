//! Who a process is, and what it inherits.
//!
//! Runs first in the supervisor and in each template, as the scanner's user. Refuses to be root; it
//! never changes user, it only gives up.

use std::io;

use caps::CapSet;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid, getresuid};

use super::SealError;

/// As if it used half of the machine's memory beside what it uses (proc(5)).
const OOM_SCORE: &str = "500";

/// Evidence that no user id of this process is root's.
#[derive(Debug)]
pub struct Unprivileged(());

/// Some user id of this process is 0.
#[derive(Debug, thiserror::Error)]
#[error("fdscand must not run as root; start it as its own user, e.g. sudo -u nobody fdscand")]
pub struct IsRoot;

impl Unprivileged {
    /// Looks at the real, effective and saved user id.
    ///
    /// # Errors
    /// [`IsRoot`].
    pub fn prove() -> Result<Self, IsRoot> {
        let ids = getresuid().map_err(|_| IsRoot)?;
        if ids.real.is_root() || ids.effective.is_root() || ids.saved.is_root() {
            return Err(IsRoot);
        }
        Ok(Self(()))
    }
}

/// No new privileges, no capabilities, no look inside by others of the same user.
///
/// # Errors
/// See [`SealError`].
pub fn harden() -> Result<(), SealError> {
    // Started by descriptor, the process would bear the number of that descriptor.
    prctl::set_name(c"fdscand").map_err(|error| SealError::System("name", error))?;
    prctl::set_no_new_privs().map_err(|error| SealError::System("no_new_privs", error))?;
    // Needs CAP_SETPCAP, which an ordinary user lacks; with no_new_privs the set cannot matter.
    let _ = caps::clear(None, CapSet::Bounding);
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(SealError::Capabilities)?;
    }
    prctl::set_dumpable(false).map_err(|error| SealError::System("dumpable", error))
}

/// Makes this process and its children the ones to be ended when the machine runs out of memory. Inside
/// a broker's fence that is not possible, because nothing may be written there; then the kernel chooses
/// by size alone. Before [`harden`], which makes the file root's.
pub fn volunteer_for_oom() {
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
}

/// Ends this process when its parent ends.
///
/// # Errors
/// [`SealError::System`], with `ESRCH` when the parent is gone already.
pub fn die_with(parent: u32) -> Result<(), SealError> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| SealError::System("pdeathsig", error))?;
    let parent = i32::try_from(parent).unwrap_or(0);
    if getppid() == Pid::from_raw(parent) {
        Ok(())
    } else {
        Err(SealError::System("parent", Errno::ESRCH))
    }
}

/// Closes whatever was left open by who started us, except standard input, output and error. Only
/// before this process opens anything itself.
///
/// # Errors
/// When the descriptors cannot be listed.
pub fn close_inherited() -> io::Result<()> {
    let inherited: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in inherited {
        // The listing's own descriptor is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}
