//! Changes of identity: from root to exactly what a role may be, irrevocably, then verified.
//!
//! Runs as root in a freshly executed process (opener, launcher) before it does anything else, and
//! in the broker itself for its capabilities. Never gives anything back.

use std::collections::HashSet;
use std::io;

use caps::Capability::{CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SETGID, CAP_SETPCAP, CAP_SETUID};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

/// What the broker may still do after start-up. The effective set is `KILL` alone; the others are kept
/// for the children, which as uid 0 get them back at execve(2).
///
/// - `KILL`: end an opener, which has another uid.
/// - `SETUID`, `SETGID`: a child becomes its caller, or the scanner's user.
/// - `SETPCAP`: that child empties its bounding set.
/// - `DAC_READ_SEARCH`: the opener for callers who may read everything, and the rule reader, keep it.
const BROKER: [Capability; 5] =
    [CAP_KILL, CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_DAC_READ_SEARCH];

/// Reduces the broker's capabilities to `BROKER` and sets no_new_privs.
///
/// # Errors
/// When a set cannot be changed, which ends the start.
pub fn keep_brokers_own() -> io::Result<()> {
    let keep: CapsHashSet = BROKER.into_iter().collect();
    drop_bounding(&keep)?;
    set_capabilities(&HashSet::from([CAP_KILL]), &keep)?;
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// Becomes a user with the given groups and no capability at all.
///
/// # Errors
/// When any step fails or its effect cannot be confirmed; the process must end then.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    change_ids(uid, gid, groups)?;
    clear_capabilities()?;
    verify(uid, gid, groups)
}

/// Becomes a user of its own that holds `DAC_READ_SEARCH` and nothing else.
///
/// # Errors
/// As [`become_user`].
pub fn become_reader(uid: u32) -> io::Result<()> {
    become_holder(uid, CAP_DAC_READ_SEARCH)
}

/// Becomes a user of its own that holds this capability and nothing else.
///
/// # Errors
/// As [`become_user`].
pub fn become_holder(uid: u32, capability: Capability) -> io::Result<()> {
    caps::securebits::set_keepcaps(true).map_err(io::Error::other)?;
    change_ids(uid, uid, &[])?;
    let keep = HashSet::from([capability]);
    set_capabilities(&keep, &keep)?;
    caps::securebits::set_keepcaps(false).map_err(io::Error::other)?;
    verify(uid, uid, &[])
}

/// Gives up every capability but keeps the identity, for an ordinary user's own broker.
///
/// # Errors
/// When a set cannot be emptied.
pub fn clear_capabilities() -> io::Result<()> {
    set_capabilities(&HashSet::new(), &HashSet::new())
}

fn change_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    if uid == 0 || uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::other("not an identity to change to"));
    }
    drop_bounding(&HashSet::new())?;
    setgroups(&groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

fn drop_bounding(keep: &CapsHashSet) -> io::Result<()> {
    let held = caps::read(None, CapSet::Bounding).map_err(io::Error::other)?;
    held.difference(keep)
        .try_for_each(|capability| caps::drop(None, CapSet::Bounding, *capability))
        .map_err(io::Error::other)?;
    confirm(CapSet::Bounding, keep)
}

/// Sets all sets but the bounding one, and confirms what the kernel made of it.
fn set_capabilities(effective: &CapsHashSet, permitted: &CapsHashSet) -> io::Result<()> {
    let none = HashSet::new();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    // The effective set within the permitted one at every moment.
    for (which, value) in [
        (CapSet::Effective, effective),
        (CapSet::Permitted, permitted),
        (CapSet::Inheritable, &none),
    ] {
        caps::set(None, which, value).map_err(io::Error::other)?;
    }
    confirm(CapSet::Effective, effective)?;
    confirm(CapSet::Permitted, permitted)?;
    confirm(CapSet::Inheritable, &none)?;
    confirm(CapSet::Ambient, &none)
}

fn confirm(which: CapSet, want: &CapsHashSet) -> io::Result<()> {
    if &caps::read(None, which).map_err(io::Error::other)? == want {
        return Ok(());
    }
    Err(io::Error::other(format!("the {which:?} capability set is not what it should be")))
}

/// Confirms the identity, and that there is no way back.
fn verify(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let (users, owners, root) = (getresuid()?, getresgid()?, Uid::from_raw(0));
    let ids = [users.real, users.effective, users.saved].map(Uid::as_raw);
    let gids = [owners.real, owners.effective, owners.saved].map(Gid::as_raw);
    let have: HashSet<u32> = nix::unistd::getgroups()?.iter().map(|id| id.as_raw()).collect();
    let holds = ids == [uid; 3] && gids == [gid; 3] && have == groups.iter().copied().collect();
    if holds && setresuid(root, root, root).is_err() && setgroups(&[Gid::from_raw(0)]).is_err() {
        return Ok(());
    }
    Err(io::Error::other("the change of identity did not hold"))
}
