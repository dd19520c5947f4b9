//! How far a user gets on the way to a path: for `fdbrokerctl explain`, which starts it; no broker does.
//!
//! A fresh process that is root only until it has become that user, as an opener does. Walks component by
//! component by `O_PATH` descriptors and asks the kernel whether the last one could be read. It opens no file
//! or directory for reading, so nothing happens to a pipe, a device or a lock.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use fdbroker_common::explanation::{Kind, Step, Walk};
use fdbroker_common::wire::encode;
use landlock::{BitFlags, Scope};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, fstat, openat, readlinkat,
};
use rustix::io::Errno;

use crate::opener::filesystem::RealDevice;
use crate::root::{fence, privilege};

/// First argument that selects this role. Then follow `user`, `reader` or `own`; the user id, the group id,
/// the groups separated by commas, for those that have them; and the path.
pub const ROLE: &str = "--explain-walk";

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Walks and tells.
///
/// # Errors
/// When the identity cannot be taken, or the way is too long to be told.
pub fn run(args: impl Iterator<Item = OsString>) -> Result<(), String> {
    let args: Vec<OsString> = args.collect();
    let [whom, uid, gid, groups, path] = args.as_slice() else {
        return Err("started by fdbrokerctl explain only".into());
    };
    let number = |text: &OsStr| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let groups: Option<Vec<u32>> = match groups.to_str() {
        Some("") => Some(Vec::new()),
        groups => groups.and_then(|text| text.split(',').map(|id| id.parse().ok()).collect()),
    };
    let done = match (whom.to_str(), number(uid), number(gid), groups) {
        (Some("user"), Some(uid), Some(gid), Some(groups)) => {
            privilege::become_user(uid, gid, &groups)
        }
        (Some("reader"), Some(uid), ..) => privilege::become_reader(uid),
        (Some("own"), ..) if !nix::unistd::geteuid().is_root() => privilege::clear_capabilities(),
        _ => Err(io::Error::other("not an identity to walk with")),
    };
    let text = |error: io::Error| error.to_string();
    done.map_err(text)?;
    let scope = Scope::AbstractUnixSocket | Scope::Signal;
    fence::read_only(BitFlags::EMPTY, scope).and_then(fence::enforce).map_err(text)?;
    let mut bytes = Vec::new();
    encode(&walk(Path::new(path)), &mut bytes).map_err(|error| error.to_string())?;
    io::stdout().write_all(&bytes).map_err(text)
}

/// Bytes of all paths together, below what fits into the answer.
const TOLD_BYTES_MAX: usize = 48 * 1024;

fn walk(path: &Path) -> Walk {
    let mut steps = Vec::new();
    let end = follow(path, &mut steps).map_err(Errno::raw_os_error);
    Walk { steps, end }
}

/// Goes as far as the kernel lets us, and finds out whether what is there can be read.
fn follow(path: &Path, steps: &mut Vec<Step>) -> Result<bool, Errno> {
    let root = || openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (mut here, mut at, mut left) = (root()?, PathBuf::from("/"), parts(path));
    let (mut links, mut told) = (0, 0_usize);
    steps.push(step(&here, &at)?);
    while let Some(name) = left.pop() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = openat(&here, &name, flags, Mode::empty())?;
        if name == ".." {
            at.pop();
        } else {
            at.push(&name);
        }
        let mut found = step(&next, &at)?;
        if found.kind == Kind::Link {
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            let target = readlinkat(&next, "", Vec::new())?.into_bytes();
            found.target = target.clone().into();
            let target = PathBuf::from(OsString::from_vec(target));
            at.pop();
            if target.is_absolute() {
                (here, at) = (root()?, PathBuf::from("/"));
            }
            left.extend(parts(&target));
        } else {
            here = next;
        }
        // A user can make paths of which the steps fill any memory.
        told = told.saturating_add(found.path.len()).saturating_add(found.target.len());
        if told > TOLD_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        steps.push(found);
    }
    let wanted = match kind_of(&here)? {
        Kind::Directory => Access::READ_OK | Access::EXEC_OK,
        Kind::File | Kind::Link | Kind::Special => Access::READ_OK,
    };
    // By this name the kernel finds what was looked at. Without the flag it would leave capabilities out.
    let name = format!("/proc/self/fd/{}", here.as_raw_fd());
    match accessat(CWD, name, wanted, AtFlags::EACCESS) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn step(object: &OwnedFd, at: &Path) -> Result<Step, Errno> {
    let about = fstat(object)?;
    Ok(Step {
        path: at.as_os_str().as_bytes().to_vec().into(),
        kind: kind_of(object)?,
        uid: about.st_uid,
        gid: about.st_gid,
        mode: about.st_mode & 0o7777,
        target: Vec::new().into(),
    })
}

/// What an object is, without opening it.
///
/// # Errors
/// As fstat(2).
pub(crate) fn kind_of(object: impl AsFd) -> Result<Kind, Errno> {
    let about = fstat(object.as_fd())?;
    Ok(match FileType::from_raw_mode(about.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::RegularFile if RealDevice::vet(object, about.st_dev, None).is_ok() => Kind::File,
        _ => Kind::Special,
    })
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
