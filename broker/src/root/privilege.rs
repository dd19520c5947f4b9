//! Changes of identity: from root to exactly what a role may be, irrevocably, then verified.
//!
//! Runs as root in a freshly executed process (opener, launcher) before it does anything else, and
//! in the broker itself for its capabilities. Never gives anything back.

use std::collections::HashSet;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

/// What the broker may still do after start-up. The effective set is `KILL` alone; the others are kept
/// for the children, which as uid 0 get them back at execve(2).
///
/// - `KILL`: end an opener, which has another uid.
/// - `SETUID`, `SETGID`: a child becomes its caller, or the scanner's user.
/// - `SETPCAP`: that child empties its bounding set.
/// - `DAC_READ_SEARCH`: the opener for callers who may read everything keeps it, and the broker raises
///   it while it opens rule files.
const BROKER: [Capability; 5] = [
    Capability::CAP_KILL,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_DAC_READ_SEARCH,
];

const SETS: [CapSet; 5] =
    [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Bounding, CapSet::Ambient];

/// Reduces the broker's capabilities to [`BROKER`] and sets no_new_privs.
///
/// # Errors
/// When a set cannot be changed, which ends the start.
pub fn keep_brokers_own() -> io::Result<()> {
    let keep: CapsHashSet = BROKER.into_iter().collect();
    drop_bounding(&keep)?;
    set(CapSet::Inheritable, &HashSet::new())?;
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    set(CapSet::Effective, &HashSet::from([Capability::CAP_KILL]))?;
    set(CapSet::Permitted, &keep)?;
    nix::sys::prctl::set_no_new_privs()?;
    verify_capabilities(&HashSet::from([Capability::CAP_KILL]), &keep, &keep)
}

/// Runs `work` with `DAC_READ_SEARCH`, for the administrator's own files.
///
/// # Errors
/// Those of `work`, or when the capability cannot be raised or lowered.
pub fn with_read_search<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let held = caps::has_cap(None, CapSet::Permitted, Capability::CAP_DAC_READ_SEARCH)
        .map_err(io::Error::other)?;
    if !held {
        return work();
    }
    caps::raise(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH)
        .map_err(io::Error::other)?;
    let result = work();
    caps::drop(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH)
        .map_err(io::Error::other)?;
    result
}

/// Becomes a user with the given groups and no capability at all.
///
/// # Errors
/// When any step fails or its effect cannot be confirmed; the process must end then.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    change_ids(uid, gid, groups)?;
    clear_capabilities()?;
    verify_ids(uid, gid, groups)?;
    verify_capabilities(&HashSet::new(), &HashSet::new(), &HashSet::new())
}

/// Becomes a user of its own that holds `DAC_READ_SEARCH` and nothing else.
///
/// # Errors
/// As [`become_user`].
pub fn become_reader(uid: u32) -> io::Result<()> {
    caps::securebits::set_keepcaps(true).map_err(io::Error::other)?;
    change_ids(uid, uid, &[])?;
    let keep = HashSet::from([Capability::CAP_DAC_READ_SEARCH]);
    set(CapSet::Effective, &keep)?;
    set(CapSet::Permitted, &keep)?;
    set(CapSet::Inheritable, &HashSet::new())?;
    caps::securebits::set_keepcaps(false).map_err(io::Error::other)?;
    verify_ids(uid, uid, &[])?;
    verify_capabilities(&keep, &keep, &HashSet::new())
}

/// Gives up every capability but keeps the identity, for an ordinary user's own broker.
///
/// # Errors
/// When a set cannot be emptied.
pub fn clear_capabilities() -> io::Result<()> {
    let none = HashSet::new();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    set(CapSet::Effective, &none)?;
    set(CapSet::Permitted, &none)?;
    set(CapSet::Inheritable, &none)
}

fn change_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    if uid == 0 || uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an identity to change to"));
    }
    drop_bounding(&HashSet::new())?;
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn drop_bounding(keep: &CapsHashSet) -> io::Result<()> {
    for capability in caps::read(None, CapSet::Bounding).map_err(io::Error::other)? {
        if !keep.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn set(which: CapSet, value: &CapsHashSet) -> io::Result<()> {
    caps::set(None, which, value).map_err(io::Error::other)
}

fn verify_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let users = getresuid()?;
    let owners = getresgid()?;
    let ids_hold = [users.real, users.effective, users.saved].iter().all(|id| id.as_raw() == uid)
        && [owners.real, owners.effective, owners.saved].iter().all(|id| id.as_raw() == gid);
    let have: HashSet<u32> = nix::unistd::getgroups()?.iter().map(|id| id.as_raw()).collect();
    let root = Uid::from_raw(0);
    if !ids_hold
        || have != groups.iter().copied().collect()
        || setresuid(root, root, root).is_ok()
        || setgroups(&[Gid::from_raw(0)]).is_ok()
    {
        return Err(io::Error::other("the change of identity did not hold"));
    }
    Ok(())
}

fn verify_capabilities(
    effective: &CapsHashSet,
    permitted: &CapsHashSet,
    bounding: &CapsHashSet,
) -> io::Result<()> {
    for which in SETS {
        let none = HashSet::new();
        let want = match which {
            CapSet::Effective => effective,
            CapSet::Permitted => permitted,
            CapSet::Bounding => bounding,
            CapSet::Inheritable | CapSet::Ambient => &none,
        };
        if &caps::read(None, which).map_err(io::Error::other)? != want {
            return Err(io::Error::other(format!(
                "the {which:?} capability set is not what it should be"
            )));
        }
    }
    Ok(())
}
