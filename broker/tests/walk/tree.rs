//! Trees of all shapes: deep, wide, moved while walked, mounted over, full of odd names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use fdbroker_broker::opener::walk::WalkOptions;
use fdbroker_common::limits::PATH_BYTES_MAX;
use fdbroker_common::outcome::{Change, Failure, Outcome, SkipReason};
use nix::libc;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat};

use crate::support::*;

/// Directories within directories, all called `name`, each (the top too) with these files. Tells
/// device and inode numbers of the directories.
fn chain(top: &Path, name: &str, levels: usize, files: &[&str]) -> BTreeSet<(u64, u64)> {
    let mut here: OwnedFd = File::open(top).unwrap().into();
    let mut directories = BTreeSet::new();
    for level in 0..=levels {
        let stat = fstat(&here).unwrap();
        directories.insert((stat.st_dev, stat.st_ino));
        for file in files {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            drop(openat(&here, *file, flags, Mode::RWXU).unwrap());
        }
        if level < levels {
            mkdirat(&here, name, Mode::RWXU).unwrap();
            here = openat(&here, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    }
    directories
}

fn file_systems() -> Vec<Scratch> {
    let shared_memory = Path::new("/dev/shm");
    let mut scratches = vec![Scratch::new()];
    if shared_memory.is_dir() {
        scratches.push(Scratch::within(shared_memory));
    }
    scratches
}

/// Where ten thousands of files come and go quickly.
fn roomy() -> Scratch {
    file_systems().pop().expect("the last one is in memory, if any is")
}

#[test]
fn a_tree_deeper_than_any_path_is_walked_whole() {
    for scratch in file_systems() {
        chain(scratch.path(), &"n".repeat(250), 100, &["a", "b", "c"]);
        let found = walk(scratch.path(), WalkOptions::default());
        assert_eq!(found.files.len(), 3 * 101);
        assert!(found.outcomes.is_empty(), "{:?}", found.outcomes);
        let longest = found.files.keys().map(Vec::len).max();
        assert_eq!(longest, Some(100 * 251 + 1));
    }
}

#[test]
fn five_thousand_levels_are_walked_whole_with_few_descriptors() {
    let scratch = roomy();
    let directories = chain(scratch.path(), "d", 5000, &["a", "z"]);
    let mut walk = start(scratch.path(), WalkOptions::default());
    let mut found = Collected::default();
    let (mut steps, mut most) = (0, 0);
    while found.step(&mut walk) {
        steps += 1;
        if steps % 500 == 0 {
            most = most.max(open_among(&directories));
        }
    }
    assert_eq!(found.files.len(), 2 * 5001);
    assert!(found.outcomes.is_empty(), "{:?}", found.outcomes);
    assert!((60..=66).contains(&most), "{most} descriptors");
}

/// How many descriptors of this process lead to these directories.
fn open_among(directories: &BTreeSet<(u64, u64)>) -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::metadata(entry.unwrap().path()).ok())
        .filter(|metadata| directories.contains(&(metadata.dev(), metadata.ino())))
        .count()
}

#[test]
fn a_path_too_long_to_report_is_an_error_and_not_descended() {
    let scratch = Scratch::new();
    chain(scratch.path(), &"n".repeat(250), 200, &["a"]);
    let found = walk(scratch.path(), WalkOptions::default());
    let fitting = PATH_BYTES_MAX / 251;
    assert_eq!(found.files.len(), fitting + 1);
    let (path, outcome) = found.outcomes.first_key_value().unwrap();
    assert_eq!(found.outcomes.len(), 1);
    assert_eq!(path.len(), PATH_BYTES_MAX);
    assert_eq!(outcome, &Outcome::Error(Failure::PathTooLong));
}

#[test]
fn a_wide_directory_with_odd_names_is_walked_whole() {
    let scratch = roomy();
    let names: BTreeSet<Vec<u8>> = (0..20_000_u32)
        .map(|number| [b"\xff\n\x1b ".as_slice(), number.to_string().as_bytes()].concat())
        .collect();
    for name in &names {
        File::create(scratch.join(OsString::from_vec(name.clone()))).unwrap();
    }
    let found = walk(scratch.path(), WalkOptions::default());
    assert!(found.outcomes.is_empty());
    assert!(found.files.keys().eq(names.iter()));
}

#[test]
fn a_shallow_directory_that_was_closed_is_read_on_where_it_was_left() {
    for scratch in file_systems() {
        // More entries than one chunk holds, on both sides of the deep one.
        let expected = 3000;
        for number in 0..expected {
            scratch.file(format!("{number:0>100}"));
        }
        let top = scratch.directory("m");
        chain(&top, "d", 150, &["a"]);
        let upper = scratch.directory("upper");
        for number in 0..expected {
            File::create(upper.join(format!("{number:0>100}"))).unwrap();
        }
        fs::rename(&top, upper.join("m")).unwrap();
        let found = walk(scratch.path(), WalkOptions::default());
        assert!(found.outcomes.is_empty(), "{:?}", found.outcomes);
        assert_eq!(found.files.len(), 2 * expected + 151);
    }
}

/// Walks to the bottom of a chain of 100 directories `d`, each with files before and after.
fn at_the_bottom(scratch: &Scratch) -> (fdbroker_broker::opener::walk::Walk, Collected) {
    let files: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    chain(scratch.path(), "d", 100, &files);
    let mut walk = start(scratch.path(), WalkOptions::default());
    let mut found = Collected::default();
    let deepest = "d/".repeat(100);
    let is_deepest = |path: &Vec<u8>| path.starts_with(deepest.as_bytes());
    while !found.files.keys().any(is_deepest) {
        assert!(found.step(&mut walk));
    }
    (walk, found)
}

fn level(number: usize) -> String {
    vec!["d"; number].join("/")
}

#[test]
fn a_directory_that_was_moved_out_is_reported_and_the_rest_goes_on() {
    let scratch = Scratch::new();
    let elsewhere = Scratch::new();
    let (walk, found) = at_the_bottom(&scratch);
    fs::rename(scratch.join(level(20)), elsewhere.join("moved")).unwrap();
    let found = found.finish(walk);
    assert_eq!(found.files.len(), 10 * 101, "its contents were at hand");
    assert_eq!(found.outcomes.len(), 1);
    assert_eq!(found.outcome(&level(20)), Some(&Outcome::Unstable(Change::Moved)));
}

#[test]
fn directories_that_cannot_be_found_again_are_reported_once() {
    let scratch = Scratch::new();
    let elsewhere = Scratch::new();
    let (walk, found) = at_the_bottom(&scratch);
    fs::rename(scratch.join(level(20)), elsewhere.join("lower")).unwrap();
    fs::rename(scratch.join(level(10)), elsewhere.join("upper")).unwrap();
    // Another directory of the same name is not the one that was left.
    fs::create_dir(scratch.join(level(10))).unwrap();
    let found = found.finish(walk);
    assert_eq!(found.outcomes.len(), 1);
    assert_eq!(found.outcome(&level(10)), Some(&Outcome::Unstable(Change::Moved)));
    for number in (0..10).chain(20..=100) {
        let prefix = format!("{}/f", level(number));
        let prefix = prefix.trim_start_matches('/').as_bytes();
        let count = found.files.keys().filter(|path| path.starts_with(prefix));
        assert_eq!(count.count(), 10, "level {number}");
    }
}

#[test]
fn a_directory_that_was_removed_meanwhile_is_unstable() {
    let scratch = Scratch::new();
    scratch.directory("empty");
    let mut walk = start(scratch.path(), WalkOptions::default());
    let mut found = Collected::default();
    // Target entered, listed, subdirectory entered.
    for _ in 0..3 {
        assert!(found.step(&mut walk));
    }
    fs::remove_dir(scratch.join("empty")).unwrap();
    let found = found.finish(walk);
    assert_eq!(found.outcome("empty"), Some(&Outcome::Unstable(Change::Vanished)));
}

#[test]
fn a_deep_tree_behind_a_link_leads_back_to_the_directory_of_the_link() {
    let scratch = Scratch::new();
    let outside = Scratch::new();
    chain(outside.path(), "d", 200, &["a"]);
    scratch.directory("sub");
    for number in 0..50 {
        scratch.file(format!("sub/f{number}"));
    }
    symlink(outside.path(), scratch.join("sub/f7-link")).unwrap();
    let found = walk(scratch.path(), following());
    assert!(found.outcomes.is_empty(), "{:?}", found.outcomes);
    assert_eq!(found.files.len(), 50 + 201);
}

#[test]
fn links_into_links_end_where_the_kernel_ends_them() {
    let scratch = Scratch::new();
    for number in 0..60 {
        let directory = scratch.directory(format!("{number:02}"));
        File::create(directory.join("file")).unwrap();
        symlink(format!("../{:02}", number + 1), directory.join("next")).unwrap();
    }
    let found = walk(&scratch.join("00"), following());
    assert_eq!(found.files.len(), 41);
    let last = vec!["next"; 41].join("/");
    assert_eq!(found.outcome(&last), Some(&Outcome::Error(Failure::System(libc::ELOOP))));
    assert_eq!(found.outcomes.len(), 1);
}

#[test]
fn hard_links_are_files_each() {
    let scratch = Scratch::new();
    let first = scratch.file("first");
    fs::hard_link(first, scratch.join("second")).unwrap();
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.paths(), ["first", "second"]);
}

#[test]
fn excluded_entries_are_reported_and_not_descended() {
    let scratch = Scratch::new();
    for directory in ["keep", ".git", "keep/target"] {
        scratch.directory(directory);
    }
    for file in ["keep/a.c", "keep/a.o", "a.o", ".git/config", "keep/target/x"] {
        scratch.file(file);
    }
    let found = walk(scratch.path(), excluding(&["*.o", ".git", "**/keep/target"]));
    assert_eq!(found.paths(), ["keep/a.c"]);
    for path in ["keep/a.o", "a.o", ".git", "keep/target"] {
        let excluded = Outcome::Skipped(SkipReason::Excluded);
        assert_eq!(found.outcome(path), Some(&excluded), "{path}");
    }
    assert_eq!(found.outcomes.len(), 4);
    let whole = walk(scratch.path(), excluding(&["fdbroker-walk-*"]));
    assert_eq!(whole.outcome(""), Some(&Outcome::Skipped(SkipReason::Excluded)));
}

#[test]
fn other_file_systems_are_crossed_only_if_wanted() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let outside = Scratch::new();
    scratch.file("here");
    let inner = scratch.directory("inner");
    let same = scratch.directory("same");
    let over = scratch.file("over");
    fs::write(outside.join("bound"), "x").unwrap();
    let _tmpfs = Mounted::tmpfs(&inner);
    let _same = Mounted::bind(outside.path(), &same);
    fs::write(inner.join("there"), "x").unwrap();
    let _over = Mounted::bind(&inner.join("there"), &over);

    let all = walk(scratch.path(), WalkOptions::default());
    assert_eq!(all.paths(), ["here", "inner/there", "over", "same/bound"]);
    let options = WalkOptions { one_filesystem: true, ..WalkOptions::default() };
    let one = walk(scratch.path(), options);
    assert_eq!(one.paths(), ["here", "same/bound"]);
    let other = Outcome::Skipped(SkipReason::OtherFilesystem);
    assert_eq!(one.outcome("inner"), Some(&other));
    assert_eq!(one.outcome("over"), Some(&other));
}

#[test]
fn a_bind_mount_of_an_ancestor_is_a_loop() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("file");
    scratch.directory("a");
    let again = scratch.directory("a/again");
    let _mounted = Mounted::bind(scratch.path(), &again);
    let found = walk(scratch.path(), WalkOptions::default());
    assert_eq!(found.paths(), ["file"]);
    assert_eq!(found.outcome("a/again"), Some(&Outcome::Skipped(SkipReason::DirectoryLoop)));
}

#[test]
fn a_directory_below_a_mount_leads_back_across_it() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let mount = scratch.directory("mount");
    for number in 0..50 {
        scratch.file(format!("f{number}"));
    }
    let mounted = Mounted::tmpfs(&mount);
    chain(&mount, "d", 150, &["a"]);
    let found = walk(scratch.path(), WalkOptions::default());
    assert!(found.outcomes.is_empty(), "{:?}", found.outcomes);
    assert_eq!(found.files.len(), 50 + 151);
    drop(mounted);
}

#[test]
fn names_are_bytes() {
    let scratch = Scratch::new();
    let name = OsString::from_vec(b"\x80\xfe".to_vec());
    scratch.directory(&name);
    File::create(scratch.join(&name).join("x")).unwrap();
    let found = walk(scratch.path(), WalkOptions::default());
    let path = [name.as_bytes(), b"/x"].concat();
    assert!(found.files.contains_key(&path));
}
