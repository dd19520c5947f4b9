//! Each type of entry: what is scanned, what is skipped, and that looking has no side effects.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fdbroker_broker::opener::walk::{Step, WalkOptions};
use fdbroker_common::outcome::{Change, Failure, Outcome, SkipReason};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use crate::support::*;

fn skipped(reason: SkipReason) -> Option<Outcome> {
    Some(Outcome::Skipped(reason))
}

#[test]
fn links_are_skipped_unless_followed() {
    let scratch = Scratch::new();
    let outside = Scratch::new();
    outside.file("outside");
    symlink(outside.path(), scratch.join("to-directory")).unwrap();
    symlink(outside.join("outside"), scratch.join("to-file")).unwrap();
    symlink("nowhere", scratch.join("dangling")).unwrap();
    symlink("circle", scratch.join("circle")).unwrap();
    symlink(".", scratch.join("here")).unwrap();
    symlink("/proc/version", scratch.join("to-procfs")).unwrap();
    symlink("/proc/self/exe", scratch.join("to-magic")).unwrap();
    let links = ["to-directory", "to-file", "dangling", "circle", "here", "to-procfs", "to-magic"];

    let plain = walk(scratch.path(), WalkOptions::default());
    assert!(plain.files.is_empty());
    for link in links {
        assert_eq!(plain.outcome(link).cloned(), skipped(SkipReason::SymbolicLink), "{link}");
    }

    let followed = walk(scratch.path(), following());
    assert_eq!(followed.paths(), ["to-directory/outside", "to-file"]);
    let expected = [
        ("dangling", Outcome::Error(Failure::System(libc::ENOENT))),
        ("circle", Outcome::Skipped(SkipReason::DirectoryLoop)),
        ("here", Outcome::Skipped(SkipReason::DirectoryLoop)),
        ("to-procfs", Outcome::Skipped(SkipReason::PseudoFilesystem)),
        ("to-magic", Outcome::Skipped(SkipReason::DirectoryLoop)),
    ];
    assert_eq!(followed.outcomes.len(), expected.len());
    for (link, outcome) in expected {
        assert_eq!(followed.outcome(link), Some(&outcome), "{link}");
    }
}

/// A thread that waits in open(2) for somebody to read a FIFO.
struct Writer {
    fifo: PathBuf,
    tell: mpsc::Receiver<Option<nix::unistd::Pid>>,
    thread: std::thread::JoinHandle<fs::File>,
}

impl Writer {
    fn at(fifo: PathBuf) -> Self {
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        Self::waiting(fifo)
    }

    fn waiting(fifo: PathBuf) -> Self {
        let (told, tell) = mpsc::channel();
        let path = fifo.clone();
        let thread = std::thread::spawn(move || {
            told.send(Some(nix::unistd::gettid())).unwrap();
            let opened = fs::OpenOptions::new().write(true).open(path);
            told.send(None).unwrap();
            opened.unwrap()
        });
        let number = tell.recv().unwrap().expect("thread id");
        let stat = format!("/proc/self/task/{number}/stat");
        let deadline = Instant::now() + Duration::from_secs(10);
        // Between its two messages it sleeps nowhere but in open(2).
        while !fs::read_to_string(&stat).unwrap().contains(") S ") {
            assert!(Instant::now() < deadline, "the writer does not block");
            std::thread::yield_now();
        }
        Self { fifo, tell, thread }
    }

    #[track_caller]
    fn waits_still(self) {
        let heard = self.tell.recv_timeout(Duration::from_millis(100));
        assert_eq!(heard.err(), Some(mpsc::RecvTimeoutError::Timeout));
        drop(fs::File::open(&self.fifo).unwrap());
        drop(self.thread.join().unwrap());
    }
}

#[test]
fn a_walk_does_not_release_a_writer_that_waits_at_a_fifo() {
    let scratch = Scratch::new();
    let writer = Writer::at(scratch.join("fifo"));
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.outcome("fifo").cloned(), skipped(SkipReason::Fifo));
    writer.waits_still();
}

#[test]
fn nor_at_one_that_took_the_place_of_a_listed_file_where_others_may_write() {
    let foreign = need_root("give a directory away").then_some((0o755, Some(3000)));
    for (mode, owner) in [(0o775, None), (0o757, None)].into_iter().chain(foreign) {
        let scratch = Scratch::new();
        ["a", "b"].iter().for_each(|name| drop(scratch.file(name)));
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(scratch.path(), owner, owner).unwrap();
        let mut walk = start(scratch.path(), WalkOptions::default());
        let first = first_file(&mut walk);
        let other = if first == "a" { "b" } else { "a" };
        fs::remove_file(scratch.join(other)).unwrap();
        let writer = Writer::at(scratch.join(other));
        let found = Collected::default().finish(walk);
        assert_eq!(found.outcome(other).cloned(), skipped(SkipReason::Fifo), "{mode:o} {owner:?}");
        writer.waits_still();
    }
}

#[test]
fn nor_where_the_entries_are_those_of_another_layer_than_owner_and_rights() {
    if !need_root("mount an overlay") {
        return;
    }
    let scratch = Scratch::new();
    let [top, bottom, on] = ["top", "bottom", "on"].map(|name| scratch.directory(name));
    let theirs = scratch.directory("bottom/d");
    scratch.directory("top/d");
    ["a", "b"].iter().for_each(|name| drop(scratch.file(format!("bottom/d/{name}"))));
    std::os::unix::fs::chown(&theirs, Some(3000), Some(3000)).unwrap();
    let _mounted = Mounted::overlay(&[&top, &bottom], &on);
    let mut walk = start(&on.join("d"), WalkOptions::default());
    let first = first_file(&mut walk);
    let other = if first == "a" { "b" } else { "a" };
    fs::remove_file(theirs.join(other)).unwrap();
    mkfifo(&theirs.join(other), Mode::S_IRWXU).unwrap();
    let writer = Writer::waiting(on.join("d").join(other));
    let found = Collected::default().finish(walk);
    assert_eq!(found.outcome(other).cloned(), skipped(SkipReason::Fifo));
    writer.waits_still();
}

#[test]
fn what_took_the_place_of_a_listed_file_is_judged_as_what_it_is() {
    let scratch = Scratch::new();
    ["a", "b", "c"].iter().for_each(|name| drop(scratch.file(name)));
    let mut walk = start(scratch.path(), WalkOptions::default());
    let first = first_file(&mut walk);
    let mut others = ["a", "b", "c"].into_iter().filter(|name| *name != first);
    let (link, directory) = (others.next().unwrap(), others.next().unwrap());
    [link, directory].iter().for_each(|name| fs::remove_file(scratch.join(name)).unwrap());
    symlink("/etc/passwd", scratch.join(link)).unwrap();
    scratch.directory(directory);
    scratch.file(format!("{directory}/inside"));
    let found = Collected::default().finish(walk);
    assert_eq!(found.outcome(link).cloned(), skipped(SkipReason::SymbolicLink));
    assert_eq!(found.paths(), [format!("{directory}/inside")]);
}

fn first_file(walk: &mut fdbroker_broker::opener::walk::Walk) -> String {
    loop {
        match walk.next() {
            Step::File { path, .. } => return String::from_utf8(path).unwrap(),
            Step::Pause => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sockets_are_skipped() {
    let scratch = Scratch::new();
    let _listener = UnixListener::bind(scratch.join("socket")).unwrap();
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.outcome("socket").cloned(), skipped(SkipReason::Socket));
}

#[test]
fn devices_are_skipped() {
    let found = walk(Path::new("/dev/null"), WalkOptions::default());
    assert_eq!(found.outcome("").cloned(), skipped(SkipReason::Device));
    if !need_root("make device nodes") {
        return;
    }
    let scratch = Scratch::new();
    // A loop device that does not exist: opening it would create one.
    for (name, kind, device) in
        [("char", SFlag::S_IFCHR, makedev(1, 3)), ("block", SFlag::S_IFBLK, makedev(7, 123))]
    {
        mknod(&scratch.join(name), kind, Mode::S_IRWXU, device).unwrap();
    }
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.outcome("char").cloned(), skipped(SkipReason::Device));
    assert_eq!(found.outcome("block").cloned(), skipped(SkipReason::Device));
    assert!(!Path::new("/sys/block/loop123").exists());
}

#[test]
fn the_kernels_own_files_are_skipped() {
    for path in ["/proc/version", "/proc", "/sys", "/proc/self/ns/net"] {
        let found = walk(Path::new(path), WalkOptions::default());
        let reason = if path.ends_with("net") {
            SkipReason::SymbolicLink
        } else {
            SkipReason::PseudoFilesystem
        };
        assert_eq!(found.outcome("").cloned(), skipped(reason), "{path}");
        assert!(found.files.is_empty() && found.outcomes.len() == 1);
    }
}

#[test]
fn mounts_of_the_kernels_own_files_are_skipped() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.file("file");
    let directory = scratch.directory("directory");
    scratch.file("other");
    let _one = Mounted::bind(Path::new("/proc/version"), &file);
    let _two = Mounted::bind(Path::new("/proc/sys"), &directory);
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.paths(), ["other"]);
    for path in ["file", "directory"] {
        assert_eq!(found.outcome(path).cloned(), skipped(SkipReason::PseudoFilesystem), "{path}");
    }
    assert_eq!(found.outcomes.len(), 2);
}

#[test]
fn entries_that_vanish_after_they_were_listed_are_unstable() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c", "d"];
    for name in names {
        scratch.file(name);
    }
    let mut walk = start(scratch.path(), WalkOptions::default());
    let first = first_file(&mut walk);
    let mut rest = names.iter().filter(|name| **name != first);
    let replaced = rest.next().unwrap();
    fs::remove_file(scratch.join(replaced)).unwrap();
    mkfifo(&scratch.join(replaced), Mode::S_IRWXU).unwrap();
    for name in rest.clone() {
        fs::remove_file(scratch.join(name)).unwrap();
    }
    let found = Collected::default().finish(walk);
    assert_eq!(found.outcome(replaced).cloned(), skipped(SkipReason::Fifo));
    for name in rest {
        assert_eq!(found.outcome(name), Some(&Outcome::Unstable(Change::Vanished)));
    }
    assert!(found.files.is_empty());
}
