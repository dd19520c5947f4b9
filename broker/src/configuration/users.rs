//! Users and groups of the configuration to numbers, by the user database.
//!
//! Runs in the configuration reader; the database may ask other processes. Members of groups are not
//! looked at: what counts are the groups of the process that connects.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group, Uid, User};

use super::document::{Findings, Table};
use super::problem::Place;
use super::value::At;
use crate::root::policy::Subjects;

/// Looks up each name once.
#[derive(Debug, Default)]
pub struct Users {
    users: BTreeMap<String, Option<u32>>,
    groups: BTreeMap<String, Option<u32>>,
}

impl Users {
    /// Whom the `users` and `groups` of a table name.
    pub fn subjects(&mut self, what: &str, table: &Table, findings: &mut Findings) -> Subjects {
        let subjects = Subjects {
            uids: numbers(table.list("users"), "user", findings, |name| self.user(name)),
            gids: numbers(table.list("groups"), "group", findings, |name| self.group(name)),
        };
        if table.lacks(&["users", "groups"]) {
            let text = format!("this {what} is for nobody; add `users` or `groups`");
            findings.problems.extend(table.place.as_ref().map(|place| place.problem(text)));
        }
        subjects
    }

    fn user(&mut self, name: &str) -> Option<u32> {
        *self
            .users
            .entry(name.to_owned())
            .or_insert_with(|| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
    }

    fn group(&mut self, name: &str) -> Option<u32> {
        *self.groups.entry(name.to_owned()).or_insert_with(|| {
            Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
        })
    }
}

fn numbers(
    names: &[At<String>],
    what: &str,
    findings: &mut Findings,
    mut look_up: impl FnMut(&str) -> Option<u32>,
) -> Vec<u32> {
    let mut seen: BTreeMap<u32, &Place> = BTreeMap::new();
    let mut numbers = Vec::new();
    for At { value: name, place } in names {
        // A name may look like a number; as chown(1) does, it is taken for a name first.
        let number = look_up(name).or_else(|| name.parse().ok().filter(|id| *id != u32::MAX));
        let Some(number) = number else {
            let text = format!("no {what} `{name}`; create it, or write its number");
            findings.problems.push(place.problem(text));
            continue;
        };
        if seen.insert(number, place).is_some() {
            let text = format!("{what} `{name}` stands there twice");
            findings.notes.push(place.problem(text));
        } else {
            numbers.push(number);
        }
    }
    numbers
}

/// User and group of the scanner, by name or number.
///
/// # Errors
/// Why not this one.
pub fn scanner(name: &str) -> Result<(u32, u32), String> {
    let by_number = |uid| User::from_uid(Uid::from_raw(uid));
    match name.parse::<u32>().map_or_else(|_| User::from_name(name), by_number) {
        Ok(Some(user)) if user.uid.is_root() || user.gid.as_raw() == 0 => {
            Err("the scanner must not run as root; name another user with --scanner-user".into())
        }
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        _ => Err(format!("no user {name:?}; create it or name another with --scanner-user")),
    }
}

/// A user as people know it: name and number.
#[must_use]
pub fn user(uid: u32) -> String {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} ({uid})"))
}

/// The same of a group.
#[must_use]
pub fn group(gid: u32) -> String {
    let name = Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
    name.map_or_else(|| format!("gid {gid}"), |name| format!("{name} ({gid})"))
}
