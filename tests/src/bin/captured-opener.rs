//! Plays an opener for a granted tree that somebody else has taken over: it becomes what such an opener is, by the
//! functions that make one, and then tries to read what lies outside of the tree.
//!
//! Started by the tests as root. `opener` in the place of `granted` puts up the fence of other openers, which
//! leaves reading to the identity: then all the same acts succeed. For each act a line: its name, and `ok` or
//! the errno.
//!
//! ```text
//! captured-opener granted|opener UID TREE SIBLING MOVING
//! ```
//! `TREE/inside` and `SIBLING/secret` are files, SIBLING is a directory beside TREE, MOVING a file in a directory
//! of the tree. It is designated before the fence stands and opened after; then again, once a line has come on
//! standard input.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use fdbroker_broker::confine;
use fdbroker_broker::opener::grants::GrantedTrees;
use fdbroker_broker::root::privilege;
use fdbroker_common::opener_link::{Subjects, TreeGrant};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, read};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match play(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("captured-opener: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &[String]) -> io::Result<()> {
    let [fence, uid, tree, sibling, moving] = arguments else {
        return Err(io::Error::other("usage: see its source"));
    };
    privilege::become_reader(uid.parse().map_err(io::Error::other)?)?;
    let grant = TreeGrant {
        subjects: Subjects::default(),
        trees: vec![tree.into()],
        except: Vec::new(),
        hard_links: false,
    };
    let trees = GrantedTrees::open(vec![grant]);
    let own = openat(CWD, "/proc/self/fd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    // What it could have held from before, though an opener holds nothing of the kind.
    let root = designate(Path::new("/"))?;
    let beside = designate(Path::new(sibling))?;
    let moving = designate(Path::new(moving))?;
    nix::sys::prctl::set_dumpable(false)?;
    match fence.as_str() {
        "granted" => confine::granted_opener(trees.directories())?,
        _ => confine::opener()?,
    }
    let again = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let [secret, inside] = [sibling, tree].map(|dir| dir.trim_end_matches('/').to_owned());
    let [secret, inside] = [secret + "/secret", inside + "/inside"];
    tell("shadow", read_file(CWD, "/etc/shadow"));
    tell("sibling", read_file(CWD, &secret));
    tell("up", read_file(CWD, &format!("{tree}/..{}", beneath_parent(&secret))));
    tell("held-root", read_file(own_fd(&root), "etc/shadow"));
    tell("held-sibling", read_file(own_fd(&beside), "secret"));
    tell("reopen-sibling", list(own_fd(&own), &again(&beside)));
    tell("list-root", list(CWD, "/"));
    tell("list-sibling", list(CWD, sibling));
    tell("proc-status", read_file(CWD, "/proc/self/status"));
    tell("proc-root", read_file(CWD, &format!("/proc/self/root{secret}")));
    tell("inside", read_file(CWD, &inside));
    tell("list-inside", list(CWD, tree));
    tell("moving", read_file(own_fd(&own), &again(&moving)));
    tell("wait", Ok(()));
    io::stdin().read_line(&mut String::new())?;
    tell("moved", read_file(own_fd(&own), &again(&moving)));
    Ok(())
}

/// The last two components of a path.
fn beneath_parent(path: &str) -> &str {
    let cut = path.rmatch_indices('/').nth(1);
    cut.map_or(path, |(at, _)| &path[at..])
}

fn own_fd(fd: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

fn tell(act: &str, result: Result<(), Errno>) {
    match result {
        Ok(()) => println!("{act} ok"),
        Err(errno) => println!("{act} {:?}", nix::errno::Errno::from_raw(errno.raw_os_error())),
    }
}

fn designate(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn read_file(at: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read(&file, &mut [0_u8; 16]).map(drop)
}

fn list(at: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(at, path, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    entries.next().transpose().map(drop)
}
