//! Warnings about grants that are allowed but give away more than they seem to, or nothing.
//!
//! Runs in the configuration reader, at each start and for `--check-config`. Looks at names, owners, modes
//! and file systems; opens no file and changes nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::statfs;

use super::policy::Written;
use super::problem::{Place, Problem};
use super::source::shown;
use super::users;
use crate::root::policy::{Policy, Subjects, TreeGrant};

/// Whether the kernel keeps users from linking files of others (proc(5)).
const PROTECTED_HARDLINKS: &str = "/proc/sys/fs/protected_hardlinks";

/// What shows processes and devices instead of files.
const KERNELS_OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// File systems on which another machine or process says who may write what (statfs(2)).
const SERVED: [(u32, &str); 11] = [
    (0x6573_5546, "FUSE"),
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
];

/// All warnings about a policy.
#[must_use]
pub fn of(policy: &Policy, written: &Written, runtime_dir: Option<&Path>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (grant, place) in policy.grants.iter().zip(&written.grants) {
        for tree in &grant.trees {
            let tree = Path::new(tree);
            let texts =
                [who_may_exchange(tree, &grant.subjects), served(tree), special(tree, runtime_dir)];
            let about = |text| place.problem(format_args!("tree `{}` {text}", shown(tree)));
            warnings.extend(texts.into_iter().flatten().map(about));
        }
        warnings.extend(hard_links(grant, fs::read_to_string(PROTECTED_HARDLINKS).ok(), place));
        warnings.extend(denied(&grant.subjects, written, place));
    }
    warnings.extend(limited_twice(policy, written));
    warnings
}

/// Who, besides root, can write in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Owner(u32),
    Group(u32),
    Everybody,
}

impl Writer {
    /// `above`: whether only what lies in it matters, which the sticky bit protects.
    fn of(about: &fs::Metadata, above: bool) -> Option<Self> {
        let mode = if above && about.mode() & 0o1000 != 0 { 0 } else { about.mode() };
        match about.uid() {
            0 if mode & 0o002 != 0 => Some(Self::Everybody),
            0 if mode & 0o020 != 0 && about.gid() != 0 => Some(Self::Group(about.gid())),
            0 => None,
            owner => Some(Self::Owner(owner)),
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Owner(uid) => format!("belongs to {}", users::user(uid)),
            // With an access control list the bits of the group are what it allows at most.
            Self::Group(gid) => format!("can be written by group {}", users::group(gid)),
            Self::Everybody => "can be written by everybody".into(),
        }
    }

    /// Whether that is somebody to whom the grant is given.
    fn is_in(self, subjects: &Subjects) -> bool {
        match self {
            Self::Owner(uid) => {
                let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
                let is_member = |gid: &u32| user.as_ref().is_some_and(|user| has(user, *gid));
                subjects.uids.contains(&uid) || subjects.gids.iter().any(is_member)
            }
            Self::Group(gid) => {
                let user = |uid: &u32| User::from_uid(Uid::from_raw(*uid)).ok().flatten();
                let is_member = |uid: &u32| user(uid).is_some_and(|user| has(&user, gid));
                subjects.gids.contains(&gid) || subjects.uids.iter().any(is_member)
            }
            Self::Everybody => true,
        }
    }
}

/// Whether the user database has a user in a group.
fn has(user: &User, gid: u32) -> bool {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    user.gid.as_raw() == gid || group.is_some_and(|group| group.mem.contains(&user.name))
}

/// The topmost directory on the way to a tree, or the tree, that somebody but root can write.
fn who_may_exchange(tree: &Path, subjects: &Subjects) -> Option<String> {
    let mut way: Vec<&Path> = tree.ancestors().collect();
    way.reverse();
    let found = way.into_iter().find_map(|path| {
        let about = fs::symlink_metadata(path).ok()?;
        Some((path, Writer::of(&about, path != tree)?))
    });
    let (path, writer) = found?;
    let mut who = writer.shown();
    if writer.is_in(subjects) {
        who += ", to whom this is granted";
    }
    Some(if path == tree {
        format!("{who}: what is moved there is granted too; give it to root, or name a tree within")
    } else {
        let path = shown(path);
        format!(
            "lies in {path}, which {who}: another directory can take its place; give {path} to root"
        )
    })
}

fn served(tree: &Path) -> Option<String> {
    let kind = u32::try_from(statfs(tree).ok()?.f_type & 0xffff_ffff).ok()?;
    let (_, name) = SERVED.iter().find(|(magic, _)| *magic == kind)?;
    Some(format!(
        "is on {name}: what is there, and who may write it, is a server's word, and files may never be read to the end when it does not answer"
    ))
}

fn special(tree: &Path, runtime_dir: Option<&Path>) -> Option<String> {
    if tree == Path::new("/") {
        let text = "is everything: this grants all files of all users; name smaller trees";
        return Some(text.into());
    }
    let own = KERNELS_OWN.map(Path::new);
    if let Some(dir) = own.into_iter().find(|dir| tree.starts_with(dir) || dir.starts_with(tree)) {
        return Some(format!("has to do with {}, where there are no files to scan", dir.display()));
    }
    let dir = runtime_dir.filter(|dir| dir.starts_with(tree) || tree.starts_with(dir))?;
    Some(format!("has to do with {}, where the sockets of this broker are", shown(dir)))
}

fn hard_links(grant: &TreeGrant, protected: Option<String>, place: &Place) -> Option<Problem> {
    let open = protected.is_some_and(|text| text.trim() == "0");
    (grant.hard_links && open).then(|| {
        place.problem(format_args!(
            "`hard_links` is true and {PROTECTED_HARDLINKS} is 0: any user can link files of others into the trees; set it to 1"
        ))
    })
}

/// Of those to whom something is granted, who is not served at all.
fn denied(subjects: &Subjects, written: &Written, place: &Place) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (denial, denied) in &written.denials {
        let users = subjects.uids.iter().filter(|uid| denied.uids.contains(uid));
        let groups = subjects.gids.iter().filter(|gid| denied.gids.contains(gid));
        let users = users.map(|uid| users::user(*uid));
        for who in users.chain(groups.map(|gid| format!("group {}", users::group(*gid)))) {
            let line = denial.line();
            warnings.push(place.problem(format_args!(
                "{who} is denied in {line}, so this grants nothing to them"
            )));
        }
    }
    warnings
}

/// Limits that never count, because an earlier one names the same users.
fn limited_twice(policy: &Policy, written: &Written) -> Vec<Problem> {
    let entries: Vec<_> =
        policy.limits.iter().map(|(subjects, _)| subjects).zip(&written.limits).collect();
    let mut warnings = Vec::new();
    for (nth, (subjects, place)) in entries.iter().enumerate() {
        for (earlier, first) in entries.iter().take(nth) {
            let users = subjects.uids.iter().filter(|uid| earlier.uids.contains(uid));
            let groups = subjects.gids.iter().filter(|gid| earlier.gids.contains(gid));
            let users = users.map(|uid| users::user(*uid));
            for who in users.chain(groups.map(|gid| format!("group {}", users::group(*gid)))) {
                let line = first.line();
                warnings
                    .push(place.problem(format_args!(
                        "{who} has the limits of {line}; these never count"
                    )));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_that_hold_no_files_or_everything_are_named() {
        let special = |tree: &str| special(Path::new(tree), Some(Path::new("/run/fdbroker")));
        for (tree, text) in [
            ("/", "is everything"),
            ("/proc", "has to do with /proc"),
            ("/sys/kernel", "has to do with /sys"),
            ("/dev/shm", "has to do with /dev"),
            ("/run", "has to do with /run/fdbroker"),
            ("/run/fdbroker", "has to do with /run/fdbroker"),
            ("/run/fdbroker/x", "has to do with /run/fdbroker"),
        ] {
            assert!(special(tree).is_some_and(|said| said.starts_with(text)), "{tree}");
        }
        for tree in ["/srv", "/runs", "/process", "/run/other", "/home/proc"] {
            assert_eq!(special(tree), None, "{tree}");
        }
    }

    #[test]
    fn file_systems_of_servers_are_known_by_their_numbers() {
        assert_eq!(served(Path::new("/proc")), None);
        assert_eq!(served(Path::new("/no/such/directory")), None);
        let distinct: std::collections::BTreeSet<u32> =
            SERVED.iter().map(|(magic, _)| *magic).collect();
        assert_eq!(distinct.len(), SERVED.len());
    }

    #[test]
    fn hard_links_are_a_danger_where_the_kernel_lets_everybody_make_them() {
        let source = super::super::source::Source::new(Path::new("/f"), "x".into());
        let place = Place::new(&source, 0);
        let mut grant = TreeGrant {
            subjects: Subjects::default(),
            trees: Vec::new(),
            except: Vec::new(),
            hard_links: true,
        };
        let warns =
            |grant: &TreeGrant, set: &str| hard_links(grant, Some(set.into()), &place).is_some();
        assert!(warns(&grant, "0\n") && !warns(&grant, "1\n"));
        grant.hard_links = false;
        assert!(!warns(&grant, "0\n"));
    }
}
