//! Descriptors that clients send: of each access mode, of files without a name, of no files at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use fdbroker_broker::opener::open::{Designated, open_target};
use fdbroker_broker::opener::walk::{Step, Walk, WalkOptions};
use fdbroker_common::outcome::{Failure, Outcome, SkipReason};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::fs::OFlags;

use crate::support::*;

fn contents_of(descriptor: OwnedFd) -> Result<Vec<u8>, Outcome> {
    match open_target(descriptor, &context()) {
        Designated::File(file) => Ok(contents(&file)),
        Designated::Not(outcome) => Err(outcome),
        Designated::Directory(_) => panic!("a directory"),
    }
}

#[test]
fn whatever_the_access_mode_a_worker_gets_a_read_only_descriptor() {
    let scratch = Scratch::new();
    let file = scratch.file("file");
    for flags in [OFlags::PATH, OFlags::RDONLY, OFlags::RDWR, OFlags::WRONLY] {
        assert_eq!(contents_of(open(&file, flags)), Ok(b"file".to_vec()), "{flags:?}");
    }
}

#[test]
fn a_file_without_a_name_is_a_file() {
    let scratch = Scratch::new();
    let path = scratch.file("deleted");
    let deleted = designate(&path);
    fs::remove_file(path).unwrap();
    assert_eq!(contents_of(deleted), Ok(b"deleted".to_vec()));

    let mut memory = File::from(memfd_create(c"memory", MFdFlags::MFD_CLOEXEC).unwrap());
    memory.write_all(b"in memory").unwrap();
    assert_eq!(contents_of(memory.into()), Ok(b"in memory".to_vec()));
}

#[test]
fn a_client_does_not_share_its_position_with_a_worker() {
    let scratch = Scratch::new();
    let mut file = File::open(scratch.file("file")).unwrap();
    std::io::Read::read_to_end(&mut file, &mut Vec::new()).unwrap();
    assert_eq!(contents_of(file.into()), Ok(b"file".to_vec()));
}

#[test]
fn what_is_no_file_is_skipped_with_a_reason() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("x", scratch.join("link")).unwrap();
    let (pipe, _writer) = nix::unistd::pipe().unwrap();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    for (descriptor, reason) in [
        (designate(&scratch.join("link")), SkipReason::SymbolicLink),
        (pipe, SkipReason::Fifo),
        (socket.into(), SkipReason::Socket),
        (event, SkipReason::UnknownType),
        (File::open("/dev/null").unwrap().into(), SkipReason::Device),
    ] {
        assert_eq!(contents_of(descriptor), Err(Outcome::Skipped(reason)));
    }
}

#[test]
fn a_directory_may_be_designated_by_any_descriptor() {
    let scratch = Scratch::new();
    scratch.file("a");
    for flags in [OFlags::PATH, OFlags::RDONLY] {
        let target = open(scratch.path(), flags);
        let options = Rc::new(WalkOptions::default());
        let walk = Walk::new(target, b"name/".to_vec(), options, context());
        assert_eq!(Collected::default().finish(walk).paths(), ["a"]);
    }
    assert!(matches!(open_target(designate(scratch.path()), &context()), Designated::Directory(_)));
}

#[test]
fn a_file_as_target_has_an_empty_path() {
    let scratch = Scratch::new();
    let file = scratch.file("file");
    let mut walk = start(&file, WalkOptions::default());
    match walk.next() {
        Step::File { path, file } => {
            assert!(path.is_empty());
            assert_eq!(file.stamp().size, 4);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(walk.next(), Step::End));
    assert!(matches!(walk.next(), Step::End));
}

/// Takes a write lease whose break is told by a signal that is ignored by default.
fn lease(file: &File) {
    // linux/asm-generic/fcntl.h; the libc crate has it not.
    const F_SETSIG: libc::c_int = 10;
    let descriptor = file.as_raw_fd();
    // Another test's child may hold the file for a moment, between fork and execve.
    let taken = (0..10_000).any(|_| {
        std::thread::yield_now();
        // SAFETY: fcntl with integer arguments touches no memory; the descriptor is open, `file` owns it.
        unsafe {
            libc::fcntl(descriptor, F_SETSIG, libc::SIGWINCH) == 0
                && libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) == 0
        }
    });
    assert!(taken, "lease: {}", std::io::Error::last_os_error());
}

#[test]
fn a_file_that_is_kept_by_a_lease_is_busy_and_the_others_go_on() {
    let scratch = Scratch::new();
    scratch.file("free");
    let path = scratch.file("leased");
    let holder = File::options().write(true).open(&path).unwrap();
    lease(&holder);
    let before = std::time::Instant::now();
    let found = walk(scratch.path(), WalkOptions::default());
    assert!(before.elapsed().as_secs() < 5, "does not wait for the lease");
    assert_eq!(found.paths(), ["free"]);
    assert_eq!(found.outcome("leased"), Some(&Outcome::Error(Failure::Busy)));
    drop(holder);
    // Another test's child may hold the file for a moment, between fork and execve.
    let is_free = || walk(scratch.path(), WalkOptions::default()).files.len() == 2;
    assert!((0..1000).any(|_| is_free()), "the lease has ended");
}
