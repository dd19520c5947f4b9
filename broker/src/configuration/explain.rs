//! Which rule decides on a user and a path, and what each of the user's grants makes of the path.
//!
//! Runs in the configuration reader, for `fdbrokerctl explain`; decides by the functions that broker and
//! openers decide by. Looks names up as a granted opener does; opens no file and changes nothing.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use fdbroker_common::explanation::{Judgement, Kind, Reach, Rule};
use fdbroker_common::opener_link::{BrokerToOpener, Identity};
use fdbroker_common::outcome::{Failure, Outcome, SkipReason};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::settle::Settled;
use super::summary;
use crate::explain_walk::kind_of;
use crate::opener::grants::GrantedTrees;
use crate::root::peer::Peer;
use crate::root::policy::{Access, Policy, authorise, contain};
use crate::root::settings::Settings;

/// Decides on a user, by name, number, or `UID:GID,GROUP,…`, and an absolute path.
///
/// # Errors
/// When there is no such user, or the path is not absolute.
pub fn of(settled: &Settled, user: &OsStr, path: &OsStr) -> Result<Judgement, String> {
    let peer = peer(user)?;
    if !path.as_bytes().starts_with(b"/") || path.as_bytes().contains(&0) {
        return Err("the path to explain must be absolute".into());
    }
    let Settled { settings, written, .. } = settled;
    let policy = &settings.policy;
    let denial = written.denials.iter().find(|(_, denied)| contain(denied, &peer));
    let rule = match identity(&peer, settings) {
        Some(Identity::ReadAll { uid }) => Rule::Root(uid),
        Some(Identity::Unchanged) => Rule::Owner,
        Some(_) => Rule::Default,
        None => denial.map_or(Rule::NotServed, |(place, _)| Rule::Denied(place.line())),
    };
    let limits = policy.limits.iter().zip(&written.limits);
    let limits = limits.into_iter().find(|((subjects, _), _)| contain(subjects, &peer));
    let grants = policy.grants.iter().zip(&written.grants).filter_map(|(grant, place)| {
        let alone = Policy { grants: vec![grant.clone()], ..policy.clone() };
        match authorise(&peer, Access::Granted, settings.mode, &alone) {
            Ok(_) => Some((place.line(), reach(alone, path))),
            Err(_) => None,
        }
    });
    let grants = grants.collect();
    let limits = limits.map(|((_, limits), place)| (place.line(), summary::amounts(limits)));
    Ok(Judgement { uid: peer.uid, gid: peer.gid, groups: peer.groups, rule, limits, grants })
}

/// As whom files are opened for a peer; none if it is refused.
fn identity(peer: &Peer, settings: &Settings) -> Option<Identity> {
    match authorise(peer, Access::Own, settings.mode, &settings.policy) {
        Ok(grant) => grant.messages(settings.plan.scanner_uid).find_map(|told| match told {
            BrokerToOpener::Become { identity, .. } => Some(identity),
            _ => None,
        }),
        Err(_) => None,
    }
}

fn peer(user: &OsStr) -> Result<Peer, String> {
    let text = user.to_str().ok_or("a user's name is text")?;
    if let Some((uid, groups)) = text.split_once(':') {
        let numbers: Option<Vec<u32>> =
            groups.split(',').chain([uid]).map(|number| number.parse().ok()).collect();
        return match numbers.as_deref() {
            Some([gid, groups @ .., uid]) => {
                Ok(Peer { uid: *uid, gid: *gid, groups: groups.to_vec(), pid: 0 })
            }
            _ => Err(format!("{text:?} is not UID:GID,GROUP,...")),
        };
    }
    let by_number = || text.parse().ok().map(|uid| User::from_uid(Uid::from_raw(uid)));
    let found = User::from_name(text).ok().flatten();
    let user = found.or_else(|| by_number()?.ok().flatten()).ok_or_else(|| {
        format!("no user {text:?}; for one without an account write UID:GID,GROUP,...")
    })?;
    let name = CString::new(user.name).map_err(|error| error.to_string())?;
    let groups = getgrouplist(&name, user.gid).map_err(|error| format!("groups: {error}"))?;
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(Peer { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups, pid: 0 })
}

/// What one grant makes of a path, as an opener that has it would look it up.
fn reach(alone: Policy, path: &OsStr) -> Reach {
    let hard_links = alone.grants.iter().any(|grant| grant.hard_links);
    let beneath =
        |paths: &[OsString]| paths.iter().any(|tree| std::path::Path::new(path).starts_with(tree));
    let excepted = alone.grants.iter().any(|grant| beneath(&grant.except));
    let Some(tree) = GrantedTrees::open(alone.grants).reaching(path.as_bytes()) else {
        return if excepted { Reach::Excepted } else { Reach::Outside };
    };
    let found = match tree.look_up(path.as_bytes()) {
        Ok(found) => found,
        Err(Outcome::Skipped(SkipReason::OtherFilesystem)) => return Reach::Mount,
        Err(Outcome::Error(Failure::System(errno))) => return Reach::Failed(errno),
        Err(_) => return Reach::Link,
    };
    match (statx(&found, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK), kind_of(&found)) {
        (Ok(about), Ok(Kind::File)) if about.stx_nlink > 1 && !hard_links => Reach::HardLinks,
        (Ok(_), Ok(Kind::Link)) => Reach::Link,
        (Ok(_), Ok(kind)) => Reach::Reached(kind),
        (Err(errno), _) | (_, Err(errno)) => Reach::Failed(errno.raw_os_error()),
    }
}
