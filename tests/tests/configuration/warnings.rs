//! Grants that are allowed but give away more than they seem to, or nothing: told by the check and at start.

use std::fs;

use fdbroker_tests::fuse::Node;
use fdbroker_tests::{Fuse, files, require_root, skip};
use nix::sys::signal::Signal;

use crate::stage::Stage;

/// A grant to uid 5000 of this tree.
fn granting(stage: &Stage, tree: &str) {
    stage.write("fdbroker.toml", &format!("[[grant]]\nusers = [5000]\ntrees = [\"{tree}\"]\n"));
}

const TREE: &str = "%/fdbroker.toml:1:1: tree `%/above/tree`";

#[test]
fn a_tree_that_somebody_may_write_or_exchange_is_told() {
    require_root!();
    let stage = Stage::new();
    let tree = stage.directory("above/tree");
    let above = stage.path("above");
    granting(&stage, "%/above/tree");
    stage.assert_warned(&[]);
    let moved = "what is moved there is granted too; give it to root, or name a tree within";
    for (uid, gid, mode, who) in [
        (4000, 0, 0o755, "belongs to uid 4000"),
        (5000, 0, 0o755, "belongs to uid 5000, to whom this is granted"),
        (0, 6000, 0o775, "can be written by group gid 6000"),
        (0, 0, 0o757, "can be written by everybody, to whom this is granted"),
        (0, 0, 0o1777, "can be written by everybody, to whom this is granted"),
    ] {
        files::own(&tree, uid, gid, mode);
        stage.assert_warned(&[&format!("{TREE} {who}: {moved}")]);
    }
    files::own(&tree, 0, 0, 0o755);
    for (uid, gid, mode, who) in [
        (4000, 0, 0o755, "belongs to uid 4000"),
        (0, 6000, 0o770, "can be written by group gid 6000"),
        (0, 0, 0o703, "can be written by everybody, to whom this is granted"),
    ] {
        files::own(&above, uid, gid, mode);
        let text = format!(
            "{TREE} lies in %/above, which {who}: another directory can take its place; give %/above to root"
        );
        stage.assert_warned(&[&text]);
    }
    // Nobody can rename there what is root's.
    files::own(&above, 0, 0, 0o1777);
    // Root's group is root.
    files::own(&tree, 0, 0, 0o775);
    stage.assert_warned(&[]);
}

#[test]
fn a_tree_of_the_kernel_of_the_sockets_or_of_everything_is_told() {
    require_root!();
    let stage = Stage::new();
    for (tree, text) in [
        ("/", "is everything: this grants all files of all users; name smaller trees"),
        ("/proc", "has to do with /proc, where there are no files to scan"),
        ("/sys/kernel", "has to do with /sys, where there are no files to scan"),
        ("/run", "has to do with /run/x, where the sockets of this broker are"),
    ] {
        granting(&stage, tree);
        let output = stage.check().expect_code(0);
        let expected = stage.fill(&format!("%/fdbroker.toml:1:1: tree `{tree}` {text}"));
        assert!(output.errors().contains(&expected), "{output}");
    }
}

#[test]
fn a_tree_on_a_file_system_that_a_process_serves_is_told() {
    require_root!();
    let stage = Stage::new();
    let at = stage.directory("served");
    let fuse = match Fuse::mount(&at, vec![("file", Node::File(b"hay".into()))]) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    granting(&stage, "%/served");
    let output = stage.check().expect_code(0);
    assert!(output.errors().contains("is on FUSE: what is there"), "{output}");
    drop(fuse);
}

#[test]
fn tables_that_make_each_other_void_are_told() {
    require_root!();
    let stage = Stage::with(
        "[[grant]]\nusers = [5000, 5001]\ngroups = [6000]\ntrees = [\"/usr\"]\n\
         [[deny]]\nusers = [5001]\ngroups = [6000, 6000]\n\
         [[limit]]\nusers = [7000]\nconnections = 2\n[[limit]]\nusers = [7000, 7001]\nconnections = 3\n\
         [[limit]]\nusers = [7002]\n",
    );
    stage.assert_warned(&[
        "%/fdbroker.toml:7:17: group `6000` stands there twice",
        "%/fdbroker.toml:14:1: this [[limit]] limits nothing; it exempts these users from those that follow",
        "%/fdbroker.toml:1:1: uid 5001 is denied in %/fdbroker.toml:5, so this grants nothing to them",
        "%/fdbroker.toml:1:1: group gid 6000 is denied in %/fdbroker.toml:5, so this grants nothing to them",
        "%/fdbroker.toml:11:1: uid 7000 has the limits of %/fdbroker.toml:8; these never count",
    ]);
}

#[test]
fn hard_links_are_told_where_everybody_can_make_them() {
    require_root!();
    let stage = Stage::with("[[grant]]\nusers = [5000]\ntrees = [\"/usr\"]\nhard_links = true\n");
    let set = fs::read_to_string("/proc/sys/fs/protected_hardlinks").expect("a number");
    let output = stage.check().expect_code(0);
    let warned =
        output.errors().contains("`hard_links` is true and /proc/sys/fs/protected_hardlinks is 0");
    assert_eq!(warned, set.trim() == "0", "{output}");
}

#[test]
fn a_broker_tells_its_warnings_when_it_starts_and_serves_all_the_same() {
    require_root!();
    let stage = Stage::new();
    files::own(&stage.directory("above/tree"), 4000, 0, 0o755);
    granting(&stage, "%/above/tree");
    let program = stage.program(&fdbroker_tests::Caller::own());
    let mut broker = program.arg("--runtime-dir").arg(stage.path("run")).spawn();
    broker.wait_for("fdbroker: warning: ");
    broker.wait_for(&stage.fill(&format!("{TREE} belongs to uid 4000")));
    fdbroker_tests::wait_until("it listens for a scanner", || {
        fdbroker_tests::proc::is_listening(&stage.path("run/scanner.sock")).then_some(())
    });
    broker.signal(Signal::SIGTERM);
    let _ = broker.finish().expect_code(0);
}
