//! What the caller may not read is `denied`, and holding a readable descriptor is a right to read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use fdbroker_broker::opener::open::{Designated, open_target};
use fdbroker_broker::opener::walk::{Step, WalkOptions};
use fdbroker_common::outcome::Outcome;
use rustix::fs::{OFlags, fcntl_getfl};

use crate::support::*;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_cannot_be_read_is_denied() {
    as_ordinary_user("rights::what_cannot_be_read_is_denied", || {
        let scratch = Scratch::new();
        chmod(&scratch.file("unreadable"), 0o200);
        scratch.file("readable");
        for (name, mode) in [("closed", 0o000), ("unlisted", 0o300), ("unsearched", 0o600)] {
            let directory = scratch.directory(name);
            fs::write(directory.join("inside"), "x").unwrap();
            chmod(&directory, mode);
        }
        let found = walk(scratch.path(), WalkOptions::default());
        for name in ["closed", "unlisted", "unsearched"] {
            chmod(&scratch.join(name), 0o700);
        }
        assert_eq!(found.paths(), ["readable"]);
        for path in ["unreadable", "closed", "unlisted", "unsearched/inside"] {
            assert_eq!(found.outcome(path), Some(&Outcome::Denied), "{path}");
        }
        assert_eq!(found.outcomes.len(), 4);
    });
}

#[test]
fn targets_that_cannot_be_read_are_denied() {
    as_ordinary_user("rights::targets_that_cannot_be_read_are_denied", || {
        let scratch = Scratch::new();
        let file = scratch.file("file");
        let directory = scratch.directory("directory");
        chmod(&file, 0);
        chmod(&directory, 0);
        for path in [&file, &directory] {
            let found = walk(path, WalkOptions::default());
            assert_eq!(found.outcome(""), Some(&Outcome::Denied));
            assert!(found.files.is_empty());
        }
    });
}

#[test]
fn a_readable_descriptor_is_a_right_to_read_and_a_writable_one_is_not() {
    let test = "rights::a_readable_descriptor_is_a_right_to_read_and_a_writable_one_is_not";
    as_ordinary_user(test, || {
        let scratch = Scratch::new();
        let context = context();
        for (flags, is_right) in [
            (OFlags::RDONLY, true),
            (OFlags::RDWR, false),
            (OFlags::WRONLY, false),
            (OFlags::PATH, false),
        ] {
            let file = scratch.file("file");
            let descriptor = open(&file, flags);
            chmod(&file, 0);
            match open_target(descriptor, &context) {
                Designated::File(file) => {
                    assert!(is_right, "{flags:?}");
                    assert_eq!(contents(&file), b"file");
                }
                Designated::Not(outcome) => {
                    assert!(!is_right, "{flags:?}");
                    assert_eq!(outcome, Outcome::Denied);
                }
                Designated::Directory(_) => panic!("a file"),
            }
            fs::remove_file(&file).unwrap();
        }
    });
}

#[test]
fn access_times_of_own_files_stay_and_foreign_files_open_all_the_same() {
    let test = "rights::access_times_of_own_files_stay_and_foreign_files_open_all_the_same";
    as_ordinary_user(test, || {
        let scratch = Scratch::new();
        let context = context();
        let own = scratch.file("own");
        for (path, is_own) in [(own.as_path(), true), (Path::new("/etc/passwd"), false)] {
            let Designated::File(file) = open_target(designate(path), &context) else {
                panic!("{path:?} does not open");
            };
            let flags = fcntl_getfl(&file).unwrap();
            assert_eq!(flags.contains(OFlags::NOATIME), is_own, "{path:?}");
        }
    });
}

#[test]
fn access_times_of_own_files_stay_in_roots_directories_too() {
    let test = "rights::access_times_of_own_files_stay_in_roots_directories_too";
    // Where root has put it for the ordinary user that it becomes.
    let place = |process: u32| std::env::temp_dir().join(format!("fdbroker-atime-{process}"));
    if is_root() {
        let place = place(std::process::id());
        fs::create_dir(&place).unwrap();
        chmod(&place, 0o755);
        fs::write(place.join("own"), "").unwrap();
        chown(place.join("own"), Some(65_534), None).unwrap();
        fs::write(place.join("foreign"), "").unwrap();
        as_ordinary_user(test, || {});
        fs::remove_dir_all(place).unwrap();
        return;
    }
    let place = place(std::os::unix::process::parent_id());
    if !place.is_dir() {
        eprintln!("skipped: only root can make a directory of root");
        return;
    }
    let mut walk = start(&place, WalkOptions::default());
    let mut seen = 0;
    loop {
        match walk.next() {
            Step::File { path, file } => {
                let unnoticed = fcntl_getfl(&file).unwrap().contains(OFlags::NOATIME);
                assert_eq!(unnoticed, path == b"own");
                seen += 1;
            }
            Step::End => break,
            _ => {}
        }
    }
    assert_eq!(seen, 2);
}
