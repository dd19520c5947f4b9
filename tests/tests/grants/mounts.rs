//! What is mounted beneath a granted tree is no part of it, be it of the same file system or another; who wants it
//! names it as a tree.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Watch, require_root, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::stage::{DENIED, FOUND, GRANTED, OTHER_MOUNT, Stage, expected};

/// A mount that is gone after the test.
struct Mounted(PathBuf);

impl Mounted {
    fn bind(from: &Path, on: &Path) -> Option<Self> {
        let none: Option<&str> = None;
        mount(Some(from), on, none, MsFlags::MS_BIND, none).ok()?;
        Some(Self(on.to_owned()))
    }

    fn memory(on: &Path) -> Option<Self> {
        fs::create_dir_all(on).expect("mkdir");
        mount(Some("test"), on, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).ok()?;
        Some(Self(on.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            eprintln!("{} was not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn what_is_mounted_beneath_a_tree_is_skipped_unless_it_is_a_tree_itself() {
    require_root!();
    let stage = Stage::with_directories(
        "[[grant]]\nusers = [2000]\ntrees = [\"DIR/tree\", \"DIR/tree/sub/granted\"]\n",
        &["tree/sub/granted"],
    );
    let outside = stage.secret("outside/secret", EICAR);
    let _ = stage.secret("tree/sub/file", EICAR);
    let bound = stage.secret("tree/bound-file", b"hay");
    fs::create_dir(stage.path("tree/bound")).expect("mkdir");
    let mounts = [
        Mounted::memory(&stage.path("tree/sub/memory")),
        Mounted::memory(&stage.path("tree/sub/granted")),
        Mounted::bind(&stage.path("outside"), &stage.path("tree/bound")),
        Mounted::bind(&outside, &bound),
    ];
    if mounts.iter().any(Option::is_none) {
        skip!("nothing can be mounted here");
    }
    for name in ["tree/sub/memory/secret", "tree/sub/granted/secret"] {
        let _ = stage.secret(name, EICAR);
    }
    let watch = Watch::on([stage.path("outside"), outside, stage.path("tree/sub/memory")]);
    let user = Caller::user(GRANTED);
    let output = stage.granted(&user, &[stage.path("tree")]).expect_code(1);
    let all = expected(&[
        ("tree/sub/file", FOUND),
        ("tree/sub/memory", OTHER_MOUNT),
        ("tree/sub/granted", OTHER_MOUNT),
        ("tree/bound", OTHER_MOUNT),
        ("tree/bound-file", OTHER_MOUNT),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    let named = ["tree/bound", "tree/bound/secret", "tree/bound-file", "tree/sub/memory/secret"];
    let paths: Vec<PathBuf> = named.iter().map(|name| stage.path(name)).collect();
    let output = stage.granted(&user, &paths);
    let found = stage.outcomes(&output);
    assert!(found.values().all(|outcome| outcome == OTHER_MOUNT), "{output}");
    assert_eq!(found.len(), named.len(), "{output}");
    assert_eq!(watch.events(), Vec::<String>::new(), "something mounted was opened");

    // The one that is a tree was mounted before the first opener began.
    let output = stage.granted(&user, &[stage.path("tree/sub/granted")]).expect_code(1);
    let all = expected(&[("tree/sub/granted/secret", FOUND)]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}

#[test]
fn a_mount_point_that_is_a_tree_is_scanned() {
    require_root!();
    let policy = "[[grant]]\nusers = [2000]\ntrees = [\"DIR/tree/mounted\"]\n";
    let stage = Stage::with_directories(policy, &["tree/mounted"]);
    let Some(_mounted) = Mounted::memory(&stage.path("tree/mounted")) else {
        skip!("nothing can be mounted here");
    };
    let _ = stage.secret("tree/mounted/secret", EICAR);
    let paths = [stage.path("tree/mounted"), stage.path("tree")];
    let output = stage.granted(&Caller::user(GRANTED), &paths).expect_code(1);
    let all = expected(&[("tree/mounted/secret", FOUND), ("tree", DENIED)]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}
