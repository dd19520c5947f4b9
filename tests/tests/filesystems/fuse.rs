//! FUSE servers that answer: as any other file system if they are honest, never clean if they are not.

use fdbroker_tests::files::EICAR;
use fdbroker_tests::fuse::Node;
use fdbroker_tests::{Caller, Fuse, Program, proc, require_root, skip, wait_until};

use crate::stage::{FOUND, NEEDLE, Stage, expected, outcomes};

#[test]
fn a_tree_on_a_fuse_file_system_is_scanned_like_any_other() {
    require_root!();
    let stage = Stage::new();
    let large = [vec![b'.'; 3 << 20], NEEDLE.to_vec()].concat();
    let table = vec![
        ("clean", Node::File(b"hay".into())),
        ("empty", Node::File(Vec::new())),
        ("sub", Node::Directory),
        ("sub/found", Node::File(NEEDLE.into())),
        ("sub/sub", Node::Directory),
        ("sub/sub/large", Node::File(large)),
    ];
    let fuse = match stage.fuse("t", table) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    let all = expected(&[
        ("clean", "OK"),
        ("empty", "OK"),
        ("sub/found", FOUND),
        ("sub/sub/large", FOUND),
    ]);
    // Root is served by an opener of another kind, and others may be told what the server likes.
    for caller in [Caller::user(2000), Caller::root()] {
        let arguments = ["--no-summary".as_ref(), fuse.path()];
        let output = stage.env.fdscan(&caller, arguments).expect_code(1);
        assert_eq!(outcomes(&output, fuse.path()), all, "{output}");
        // From outside it is another file system.
        let arguments = ["--no-summary".as_ref(), "--one-file-system".as_ref(), stage.env.dir()];
        let output = stage.env.fdscan(&caller, arguments);
        let found = outcomes(&output, stage.env.dir());
        assert_eq!(
            found.get("t").map(String::as_str),
            Some("other file system SKIPPED"),
            "{output}"
        );
    }
    stage.comes_to_rest();
}

#[test]
fn a_server_that_lies_about_a_file_never_makes_it_clean() {
    require_root!();
    let stage = Stage::new();
    let liar = |contents: &[u8], claims, direct| {
        let contents = contents.to_vec();
        Node::Liar { contents, claims, direct }
    };
    let table = vec![
        ("honest", Node::File(b"hay".into())),
        ("shorter", liar(b"hay", 100, false)),
        ("shorter-direct", liar(b"hay", 100, true)),
        ("longer-direct", liar(b"hay and hay", 3, true)),
        ("nothing-direct", liar(b"hay", 0, true)),
        ("broken", Node::Broken(100, nix::libc::EIO)),
        ("broken-direct", Node::Broken(100, nix::libc::EBADMSG)),
        ("too-large", Node::Broken(1 << 60, nix::libc::EIO)),
    ];
    let fuse = match stage.fuse("t", table) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    let arguments = ["--no-summary".as_ref(), fuse.path()];
    let output = stage.env.fdscan(&Caller::user(2000), arguments).expect_code(2);
    let mut found = outcomes(&output, fuse.path());
    assert_eq!(found.remove("honest").as_deref(), Some("OK"), "{output}");
    assert_eq!(found.len(), 7, "{output}");
    for (name, words) in [
        ("shorter", "UNSTABLE"),
        ("shorter-direct", "UNSTABLE"),
        ("longer-direct", "UNSTABLE"),
        ("nothing-direct", "UNSTABLE"),
        ("broken", "I/O error ERROR"),
        ("broken-direct", "ERROR"),
        ("too-large", "INCOMPLETE"),
    ] {
        assert!(found[name].ends_with(words), "{name}: {output}");
    }
    stage.comes_to_rest();
}

#[test]
fn a_directory_without_end_costs_its_caller_time_and_nobody_memory() {
    require_root!();
    let stage = Stage::new();
    let fuse = match stage.fuse("t", vec![("endless", Node::Endless)]) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    let mut fdscan =
        stage.env.fdscan_program(&Caller::user(2000)).arg("--no-summary").arg(fuse.path()).spawn();
    let reported = |lines: usize| {
        wait_until("outcomes", || (fdscan.text().lines().count() >= lines).then_some(()));
    };
    let peak = || {
        let openers = stage.env.named("fdb-opener");
        openers.into_iter().filter_map(|pid| Some(proc::status(pid)?.peak_kib)).max().unwrap()
    };
    reported(5_000);
    let before = peak();
    reported(50_000);
    let after = peak();
    assert!(after <= before + 1024, "{before} KiB became {after}");
    stage.is_served(2000);
    stage.is_served(2001);
    fdscan.signal(nix::sys::signal::Signal::SIGTERM);
    let status = fdscan.ended_within(fdbroker_tests::PATIENCE).expect("the signal ends it");
    assert_ne!(status.code(), Some(0));
    assert!(!fdscan.text().contains(": OK"), "there is nothing to be clean");
    stage.comes_to_rest();
}

#[test]
fn a_file_system_that_is_for_its_owner_alone_can_be_scanned_by_the_owners_own_broker_alone() {
    require_root!();
    let stage = Stage::new();
    let at = stage.path("t");
    std::fs::create_dir(&at).unwrap();
    let table = vec![("clean", Node::File(b"hay".into())), ("eicar", Node::File(EICAR.into()))];
    let fuse = match Fuse::mount_for(&at, table, 2000) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    let arguments = ["--no-summary".as_ref(), fuse.path()];
    // What its opener may open, the scanner may not even look at: that is an error, not clean.
    let output = stage.env.fdscan(&Caller::user(2000), arguments).expect_code(2);
    let error = "Permission denied ERROR";
    let all = expected(&[("clean", error), ("eicar", error)]);
    assert_eq!(outcomes(&output, fuse.path()), all, "{output}");
    for uid in [2001, 0] {
        let output = stage.env.fdscan(&Caller::user(uid), arguments).expect_code(2);
        let all = format!("{}: permission denied DENIED\n", fuse.path().display());
        assert_eq!(output.text(), all);
    }
    let fdscan = Program::at(&stage.env.install().join("fdscan")).caller(&Caller::user(2000));
    let output = fdscan.arg("--private").args(arguments).output().expect_code(1);
    let all = expected(&[("clean", "OK"), ("eicar", "EICAR_Test_File FOUND")]);
    assert_eq!(outcomes(&output, fuse.path()), all, "{output}");
    stage.comes_to_rest();
}
