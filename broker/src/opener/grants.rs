//! Granted trees: what an opener with a grant looks up by name, and what it may read of it.
//!
//! Runs in an opener with a uid of its own and `DAC_READ_SEARCH`: what it refuses here, no permission of a file
//! would. A path counts only beneath a held directory of the administrator's choice, without links, `..` and
//! mount points; whatever was moved out of the tree meanwhile, Landlock refuses to read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fdbroker_common::opener_link::TreeGrant;
use fdbroker_common::outcome::{Change, Failure, Outcome, SkipReason};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::{Errno, retry_on_intr};

use super::open::outcome_of;
use super::walk::lookup::Found;

/// What an `openat2` may be disturbed by, and how often it is tried.
const LOOKUP_ATTEMPTS_MAX: u32 = 4;

/// How often a file is looked at that has just changed, and the pause in between.
const LOOKS_MAX: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// More than the kernel's clock for times of files may lag behind: a tick of 10 ms at most.
const CLOCK_LAG: Duration = Duration::from_millis(100);

/// The coarsest clock of a file system that has no fractions of seconds.
const CLOCK_COARSE: Duration = Duration::from_secs(2);

const SECOND_NS: i64 = 1_000_000_000;

/// The trees of one caller, held; those with the longest path first.
#[derive(Debug)]
pub struct GrantedTrees(Vec<Rc<Tree>>);

/// One granted tree.
#[derive(Debug)]
pub(crate) struct Tree {
    directory: OwnedFd,
    path: Vec<u8>,
    except: Rc<[Vec<u8>]>,
    hard_links: bool,
}

/// When a look-up began, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Moment(i64);

/// Whether the number of names of a file is to be relied on.
enum Names {
    One,
    Several,
    Unsettled,
}

impl GrantedTrees {
    /// Opens the trees of all grants. One that cannot be opened, or whose path leads through a link, is left
    /// out.
    #[must_use]
    pub fn open(grants: Vec<TreeGrant>) -> Self {
        let mut trees = Vec::new();
        for grant in grants {
            let except = grant.except.into_iter().map(|path| trimmed(path.into_vec()));
            let except: Rc<[Vec<u8>]> = except.collect();
            for path in grant.trees.into_iter().map(|path| trimmed(path.into_vec())) {
                if let Some(directory) = is_plain(&path).then(|| open_tree(&path)).flatten() {
                    let (except, hard_links) = (Rc::clone(&except), grant.hard_links);
                    trees.push(Rc::new(Tree { directory, path, except, hard_links }));
                }
            }
        }
        trees.sort_by_key(|tree| (std::cmp::Reverse(tree.path.len()), !tree.hard_links));
        Self(trees)
    }

    /// Descriptors of the directories.
    pub fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|tree| tree.directory.as_fd())
    }

    /// How many there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The nearest tree that reaches a path.
    pub(crate) fn reaching(&self, path: &[u8]) -> Option<Rc<Tree>> {
        let reaches = |tree: &&Rc<Tree>| beneath(&tree.path, path).is_some() && !tree.excepts(path);
        self.0.iter().filter(|_| is_plain(path)).find(reaches).map(Rc::clone)
    }
}

impl Tree {
    /// Whether a path is one of the exceptions, or beneath one.
    pub(super) fn excepts(&self, path: &[u8]) -> bool {
        self.except.iter().any(|except| beneath(except, path).is_some())
    }

    /// Designates what is at a path beneath it. Nothing is opened for reading.
    ///
    /// # Errors
    /// What becomes of the target.
    pub(crate) fn look_up(&self, path: &[u8]) -> Result<OwnedFd, Outcome> {
        let rest = beneath(&self.path, path).ok_or(Outcome::Denied)?;
        let rest = if rest.is_empty() { b"." } else { rest };
        let strict = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut attempt = 1;
        loop {
            match openat2(&self.directory, rest, flags, Mode::empty(), strict) {
                Ok(found) => return Ok(found),
                Err(Errno::INTR | Errno::AGAIN) if attempt < LOOKUP_ATTEMPTS_MAX => attempt += 1,
                Err(Errno::XDEV) => return Err(Outcome::Skipped(SkipReason::OtherFilesystem)),
                // Through a link: it may lead out of the tree.
                Err(Errno::LOOP | Errno::ACCESS | Errno::PERM) => return Err(Outcome::Denied),
                Err(errno) => {
                    return Err(Outcome::Error(Failure::System(errno.raw_os_error())));
                }
            }
        }
    }

    /// Finds an object by `find`, again if it has just changed, and gives it back unless it is a file that had
    /// another name too when it was looked up: that could be outside of the tree. Nothing is opened before.
    ///
    /// # Errors
    /// Those of `find`, or what becomes of a file with several names.
    pub(super) fn sole(
        &self,
        mut find: impl FnMut() -> Result<Found, Outcome>,
    ) -> Result<Found, Outcome> {
        for _ in 0..LOOKS_MAX {
            let begun = Moment::now();
            let found = find()?;
            if self.hard_links || found.node.about().kind != FileType::RegularFile {
                return Ok(found);
            }
            match Names::of(found.node.descriptor(), begun).map_err(outcome_of)? {
                Names::One => return Ok(found),
                Names::Several => return Err(Outcome::Denied),
                Names::Unsettled => sleep(LOOK_PAUSE),
            }
        }
        Err(Outcome::Unstable(Change::Modified))
    }
}

impl Names {
    /// Judges a file that was looked up after `begun`, and is asked now how many names it has. To add or
    /// remove a name sets the time of change, which nobody sets back: if that lies outside of the time in
    /// between, the number is the one that it had when the name was looked up.
    fn of(file: BorrowedFd<'_>, begun: Moment) -> Result<Self, Errno> {
        let wanted = StatxFlags::NLINK | StatxFlags::CTIME;
        let found = retry_on_intr(|| statx(file, c"", AtFlags::EMPTY_PATH, wanted))?;
        let fraction = found.stx_ctime.tv_nsec;
        let changed = found.stx_ctime.tv_sec.saturating_mul(SECOND_NS);
        let changed = changed.saturating_add(i64::from(fraction));
        let lag = if fraction == 0 { CLOCK_LAG + CLOCK_COARSE } else { CLOCK_LAG };
        let earliest = begun.0.saturating_sub(nanoseconds(lag));
        Ok(match found.stx_nlink {
            0 | 1 if changed < earliest || changed > Moment::now().0 => Self::One,
            0 | 1 => Self::Unsettled,
            _ => Self::Several,
        })
    }
}

impl Moment {
    fn now() -> Self {
        Self(nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn open_tree(path: &[u8]) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, flags, Mode::empty(), resolve).ok()
}

/// Without slashes at the end.
fn trimmed(mut path: Vec<u8>) -> Vec<u8> {
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

/// Whether a path is absolute and has only components that lead down.
fn is_plain(path: &[u8]) -> bool {
    let leads_down = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    let rest = path.strip_prefix(b"/");
    rest.is_some_and(|rest| rest.is_empty() || rest.split(|byte| *byte == b'/').all(leads_down))
}

/// The part of a path beneath a directory, component by component; empty for the directory itself.
fn beneath<'p>(directory: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(if directory == b"/" { b"".as_slice() } else { directory })?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_beneath_a_directory_by_components() {
        for (directory, path, rest) in [
            ("/srv", "/srv", Some("")),
            ("/srv", "/srv/a/b", Some("a/b")),
            ("/", "/", Some("")),
            ("/", "/a", Some("a")),
            ("/srv", "/srvx", None),
            ("/srv", "/sr", None),
            ("/srv/a", "/srv", None),
        ] {
            let found = beneath(directory.as_bytes(), path.as_bytes());
            assert_eq!(found, rest.map(str::as_bytes), "{directory} {path}");
        }
    }

    #[test]
    fn only_absolute_paths_that_lead_down_are_plain() {
        for path in ["/", "/a", "/a/b", "/...", "/a/.b"] {
            assert!(is_plain(path.as_bytes()), "{path}");
        }
        for path in
            ["", "a", "a/b", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a/./b", "/a/.."]
        {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
        assert_eq!(trimmed(b"/srv//".to_vec()), b"/srv");
        assert_eq!(trimmed(b"/".to_vec()), b"/");
    }

    fn trees(grants: &[(&[&str], &[&str])]) -> GrantedTrees {
        let directory = || std::fs::File::open("/").unwrap().into();
        let bytes = |path: &&str| path.as_bytes().to_vec();
        let mut trees = Vec::new();
        for (paths, except) in grants {
            let except: Rc<[Vec<u8>]> = except.iter().map(bytes).collect();
            for path in paths.iter().map(bytes) {
                let (directory, except) = (directory(), Rc::clone(&except));
                trees.push(Rc::new(Tree { directory, path, except, hard_links: false }));
            }
        }
        trees.sort_by_key(|tree| std::cmp::Reverse(tree.path.len()));
        GrantedTrees(trees)
    }

    #[test]
    fn the_nearest_tree_that_does_not_except_a_path_reaches_it() {
        let trees = trees(&[(&["/srv", "/opt"], &["/srv/keys"]), (&["/srv/a"], &["/srv/a/b"])]);
        for (path, tree) in [
            ("/srv/x", Some("/srv")),
            ("/srv/a/x", Some("/srv/a")),
            // Excepted from one grant, within another one.
            ("/srv/a/b/x", Some("/srv")),
            ("/srv/keys", None),
            ("/srv/keys/x", None),
            ("/srv/keysx", Some("/srv")),
            ("/srv/x/../keys", None),
            ("/etc", None),
            ("/", None),
        ] {
            let found = trees.reaching(path.as_bytes());
            let found = found.as_ref().map(|tree| std::str::from_utf8(&tree.path).unwrap());
            assert_eq!(found, tree, "{path}");
        }
    }
}
