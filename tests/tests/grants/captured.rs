//! An opener for a granted tree that somebody else has taken over reads nothing outside of the tree: a double
//! with its identity and its fence tries. Behind the fence of other openers, the same acts succeed.

use std::collections::BTreeMap;
use std::fs;

use fdbroker_tests::files::{self, EICAR, Scratch};
use fdbroker_tests::{Program, require_root};

/// Of the range of user ids for processes of ours; no broker takes the lowest.
const UID: u32 = 65_520;

/// What it came to, by act.
fn play(fence: &str) -> BTreeMap<String, String> {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    for name in ["tree/inside", "tree/low/file", "beside/secret"] {
        files::write(&at(name), EICAR);
        files::own(&at(name), 0, 0, 0o600);
    }
    files::own(&at("beside"), 0, 0, 0o700);
    let (keep, go) = std::io::pipe().expect("a pipe");
    let program = Program::new("captured-opener").arg(fence).arg(UID.to_string());
    let program = program.args([at("tree"), at("beside"), at("tree/low/file")]).stdin(keep);
    let running = program.spawn();
    running.wait_for_output("wait ok");
    // The file that it has designated is outside of the tree from now on.
    fs::rename(at("tree/low"), at("beside/low")).expect("rename");
    std::io::Write::write_all(&mut &go, b"\n").expect("it reads");
    let output = running.finish().expect_code(0);
    let text = output.text();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(act, result)| (act.to_owned(), result.to_owned())).collect()
}

const INSIDE: [&str; 4] = ["inside", "list-inside", "moving", "wait"];
const OUTSIDE: [&str; 11] = [
    "shadow",
    "sibling",
    "up",
    "held-root",
    "held-sibling",
    "reopen-sibling",
    "list-root",
    "list-sibling",
    "proc-status",
    "proc-root",
    "moved",
];

#[test]
fn it_reads_what_is_in_the_tree_and_nothing_else_whatever_it_holds() {
    require_root!();
    let acts = play("granted");
    for act in INSIDE {
        assert_eq!(acts.get(act).map(String::as_str), Some("ok"), "{act}: {acts:?}");
    }
    for act in OUTSIDE {
        assert_eq!(acts.get(act).map(String::as_str), Some("EACCES"), "{act}: {acts:?}");
    }
    assert_eq!(acts.len(), INSIDE.len() + OUTSIDE.len());
}

#[test]
fn without_that_fence_its_capability_would_read_everything() {
    require_root!();
    let acts = play("opener");
    for act in INSIDE.iter().chain(&OUTSIDE) {
        assert_eq!(acts.get(*act).map(String::as_str), Some("ok"), "{act}: {acts:?}");
    }
}
