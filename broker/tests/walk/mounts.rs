//! Mounts that are made while a walk goes on: what is there when an entry is looked up is what counts.

use std::fs::{self, File};
use std::path::Path;

use fdbroker_broker::opener::walk::{Step, Walk, WalkOptions};
use fdbroker_common::outcome::{Outcome, SkipReason};

use crate::support::*;

/// A directory with `begin`, which comes first, and what a test mounts on. All names have been read, and
/// nothing but the first one was looked up, when this returns.
fn begun(scratch: &Scratch, options: WalkOptions) -> (Walk, Collected) {
    let mut walk = start(scratch.path(), options);
    for _ in 0..1000 {
        match walk.next() {
            Step::Pause => {}
            // Whichever it is; the file systems of scratch directories have an order of their own.
            Step::File { path, .. } | Step::Outcome { path, .. } => {
                let first =
                    Collected { files: [(path, Vec::new())].into(), ..Collected::default() };
                return (walk, first);
            }
            Step::End => panic!("nothing was found"),
        }
    }
    panic!("nothing is found");
}

/// Enough files that what is mounted on is among those that come later, most likely; and which those are.
fn fill(scratch: &Scratch) -> Vec<String> {
    let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
    names.iter().for_each(|name| drop(scratch.file(name)));
    names
}

fn told(found: &Collected, name: &str) -> bool {
    found.files.contains_key(name.as_bytes())
}

#[test]
fn a_file_of_the_kernel_that_is_mounted_over_a_listed_name_is_skipped() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let names = fill(&scratch);
    let (walk, found) = begun(&scratch, WalkOptions::default());
    let left: Vec<&String> = names.iter().filter(|name| !told(&found, name)).collect();
    let _mounts: Vec<Mounted> = left
        .iter()
        .map(|name| Mounted::bind(Path::new("/proc/version"), &scratch.join(name)))
        .collect();
    let found = found.finish(walk);
    assert_eq!(left.len(), names.len() - 1);
    for name in left {
        let pseudo = Outcome::Skipped(SkipReason::PseudoFilesystem);
        assert_eq!(found.outcome(name), Some(&pseudo), "{name}");
    }
}

#[test]
fn a_file_system_that_is_mounted_over_a_listed_directory_is_walked_or_left_out_as_asked() {
    if !need_root("mount") {
        return;
    }
    for one_filesystem in [false, true] {
        let scratch = Scratch::new();
        let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
        for name in &names {
            File::create(scratch.directory(name).join("under")).unwrap();
        }
        let options = WalkOptions { one_filesystem, ..WalkOptions::default() };
        let (walk, found) = begun(&scratch, options);
        let left: Vec<&String> =
            names.iter().filter(|name| !told(&found, &format!("{name}/under"))).collect();
        let mounts: Vec<Mounted> = left
            .iter()
            .map(|name| {
                let mounted = Mounted::tmpfs(&scratch.join(name));
                fs::write(scratch.join(name).join("over"), "x").unwrap();
                mounted
            })
            .collect();
        let found = found.finish(walk);
        assert_eq!(left.len(), names.len() - 1);
        for name in left {
            let other = Outcome::Skipped(SkipReason::OtherFilesystem);
            let outcome = one_filesystem.then_some(&other);
            assert_eq!(found.outcome(name), outcome, "{name}");
            assert_eq!(told(&found, &format!("{name}/over")), !one_filesystem, "{name}");
            assert!(!told(&found, &format!("{name}/under")), "{name}");
        }
        drop(mounts);
    }
}

#[test]
fn a_mount_over_the_directory_in_which_the_walk_is_changes_nothing_below() {
    if !need_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let below = scratch.directory("d");
    for number in 0..20 {
        File::create(below.join(format!("f{number}"))).unwrap();
    }
    let (walk, found) = begun(&scratch, WalkOptions::default());
    let mounted = Mounted::tmpfs(&below);
    fs::write(below.join("over"), "x").unwrap();
    let found = found.finish(walk);
    // It was entered, and is held, as what it was.
    assert_eq!(found.files.len(), 20);
    assert!(!told(&found, "d/over") && found.outcomes.is_empty(), "{:?}", found.outcomes);
    drop(mounted);
}
