//! Opens by name what nobody but root and one user could have put there: each directory on the way, each
//! link, and the object itself belong to one of them and can be written by nobody else.
//!
//! Runs in the configuration reader. Walks by descriptors, so what was looked at is what is opened.
//! The sticky bit is enough for a directory on the way, because the next component is looked at too.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

use super::source::shown;

/// As many links as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// An O_PATH descriptor of what was found.
#[derive(Debug)]
pub struct Trusted(OwnedFd);

impl AsRawFd for Trusted {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Opens a path for a process of this user, or of root.
///
/// # Errors
/// Which component somebody else could have written, and what to do; otherwise as open(2).
pub fn open(path: &Path, kind: Kind, user: u32) -> io::Result<Trusted> {
    let whole = std::path::absolute(path)?;
    let mut steps = parts(&whole);
    let mut at = PathBuf::from("/");
    let mut here = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut links = 0;
    vet(&here, &at, user, steps.is_empty().then_some(kind))?;
    while let Some(name) = steps.pop() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = openat(&here, &name, flags, Mode::empty())?;
        if name == ".." {
            at.pop();
        } else {
            at.push(&name);
        }
        let found = fstat(&next)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            is_ours(found.st_uid, &at, user)?;
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = readlinkat(&next, "", Vec::new())?.into_bytes();
            let target = PathBuf::from(OsString::from_vec(target));
            if target.is_absolute() {
                at = PathBuf::from("/");
                here = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            } else {
                at.pop();
            }
            steps.extend(parts(&target));
            continue;
        }
        vet(&next, &at, user, steps.is_empty().then_some(kind))?;
        here = next;
    }
    Ok(Trusted(here))
}

/// Names of a path, last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Looks at one component; `last` is what the last one has to be.
fn vet(object: &OwnedFd, at: &Path, user: u32, last: Option<Kind>) -> io::Result<()> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let about = fstat(object)?;
    let is = FileType::from_raw_mode(about.st_mode);
    match last.unwrap_or(Kind::Directory) {
        Kind::File if is != FileType::RegularFile => {
            return Err(io::Error::other("not a regular file"));
        }
        Kind::Directory if is != FileType::Directory => {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        Kind::File | Kind::Directory => {}
    }
    is_ours(about.st_uid, at, user)?;
    let sticky = last.is_none() && about.st_mode & STICKY != 0;
    if about.st_mode & OTHERS_WRITE != 0 && !sticky {
        let (path, mode) = (shown(at), about.st_mode & 0o7777);
        return Err(io::Error::other(format!(
            "{path} can be written by others (mode {mode:04o}); chmod go-w it"
        )));
    }
    Ok(())
}

fn is_ours(owner: u32, at: &Path, user: u32) -> io::Result<()> {
    if [0, user].contains(&owner) {
        return Ok(());
    }
    let path = shown(at);
    Err(io::Error::other(format!(
        "{path} belongs to uid {owner}, who could exchange it; chown it to root"
    )))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of our own below /tmp, which is sticky.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            let path = nix::unistd::mkdtemp("/tmp/fdbroker-trusted-XXXXXX").unwrap();
            fs::create_dir(path.join("etc")).unwrap();
            fs::write(path.join("etc/file"), "x").unwrap();
            for (name, mode) in [("", 0o755), ("etc", 0o755), ("etc/file", 0o644)] {
                fs::set_permissions(path.join(name), Permissions::from_mode(mode)).unwrap();
            }
            Self(path)
        }

        fn open(&self, name: &str) -> Result<(), String> {
            let user = nix::unistd::geteuid().as_raw();
            let opened = open(&self.0.join(name), Kind::File, user);
            opened.map(drop).map_err(|error| error.to_string())
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.0.join(name), Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_only_we_could_write_is_opened_by_links_too() {
        let place = Place::new();
        assert_eq!(place.open("etc/file"), Ok(()));
        symlink("../etc/./file", place.0.join("etc/relative")).unwrap();
        symlink(place.0.join("etc"), place.0.join("absolute")).unwrap();
        assert_eq!(place.open("etc/relative"), Ok(()));
        assert_eq!(place.open("absolute/../etc/relative"), Ok(()));
        symlink("loop", place.0.join("loop")).unwrap();
        assert!(place.open("loop").unwrap_err().contains("Too many levels"));
        assert!(place.open("etc").unwrap_err().contains("not a regular file"));
        assert!(place.open("etc/file/x").unwrap_err().contains("Not a directory"));
    }

    #[test]
    fn what_others_may_write_on_the_way_is_refused_and_named() {
        let place = Place::new();
        for (name, good) in [("etc/file", 0o644), ("etc", 0o755), ("", 0o755)] {
            for bad in [good | 0o020, good | 0o002] {
                place.mode(name, bad);
                let error = place.open("etc/file").unwrap_err();
                let path = place.0.join(name);
                let path = path.to_str().unwrap().trim_end_matches('/');
                assert!(error.starts_with(&format!("{path} can be written by others")), "{error}");
                assert!(error.contains("chmod go-w"), "{error}");
            }
            place.mode(name, good);
        }
        // Where nobody can exchange what others own, but what we own stays what it is.
        place.mode("etc", 0o1777);
        assert_eq!(place.open("etc/file"), Ok(()));
        place.mode("etc/file", 0o1666);
        assert!(place.open("etc/file").is_err());
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_and_links_are_too() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = Place::new();
        symlink("file", place.0.join("etc/link")).unwrap();
        for name in ["etc/link", "etc/file", "etc"] {
            std::os::unix::fs::lchown(place.0.join(name), Some(2000), None).unwrap();
            let error = place.open("etc/link").unwrap_err();
            let path = place.0.join(name);
            let owner = format!("{} belongs to uid 2000", path.display());
            assert!(error.starts_with(&owner) && error.contains("chown it to root"), "{error}");
            std::os::unix::fs::lchown(path, Some(0), None).unwrap();
        }
    }
}
