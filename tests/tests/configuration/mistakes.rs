//! Every mistake is refused with file, line, column, and what to do.

use std::os::unix::fs::symlink;

use fdbroker_tests::{Caller, require_root};

use crate::stage::Stage;

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    require_root!();
    let stage =
        Stage::with("wrokers = 2\nspawn_scanner = \"yes\"\nscanner_user = \"no-such-user\"\n");
    stage.write(
        "conf.d/x.toml",
        "\n[[deny]]\nusers = [\"no-such-user\"]\ngroups = [\"no-such-group\"]\n",
    );
    let output = stage.check().expect_code(2);
    let expected = [
        "%/fdbroker.toml:1:1: unknown key `wrokers`; did you mean `workers`?",
        "%/fdbroker.toml:2:17: `spawn_scanner` takes true or false, not a string",
        "%/conf.d/x.toml:3:10: no user `no-such-user`; create it, or write its number",
        "%/conf.d/x.toml:4:11: no group `no-such-group`; create it, or write its number",
        "%/fdbroker.toml:3:1: no user \"no-such-user\"; create it or name another with --scanner-user",
    ];
    let expected: String =
        expected.iter().map(|line| format!("fdbroker: {}\n", stage.fill(line))).collect();
    assert_eq!(output.errors(), expected, "{output}");
}

#[test]
fn the_broker_does_not_start_with_what_the_check_refuses() {
    let stage = Stage::with("workers = \"many\"\n");
    let runtime = stage.path("run");
    let output = stage.program(&Caller::own()).arg("--runtime-dir").arg(&runtime).output();
    let output = output.expect_code(2);
    let expected = "%/fdbroker.toml:1:11: `workers` takes an integer from 1 to 256, not a string";
    assert_eq!(output.errors(), format!("fdbroker: {}\n", stage.fill(expected)));
    assert!(!runtime.exists());
}

#[test]
fn a_table_for_nobody_is_refused() {
    require_root!();
    for (text, what) in [
        ("[[grant]]\ntrees = [\"/usr\"]", "[[grant]]"),
        ("[[deny]]\nusers = []\ngroups = []", "[[deny]]"),
        ("[[limit]]\nconnections = 2", "[[limit]]"),
    ] {
        let mistake =
            format!("%/fdbroker.toml:1:1: this {what} is for nobody; add `users` or `groups`");
        Stage::with(text).assert_refused(&mistake);
    }
    Stage::with("[[deny]]\nusers = [5, \"root\"]").assert_refused(
        "%/fdbroker.toml:1:1: root cannot be denied: it can read everything anyway; take it out",
    );
}

#[test]
fn a_tree_must_be_a_directory_by_its_real_name() {
    require_root!();
    let grant = |tree: &str| format!("[[grant]]\nusers = [5]\ntrees = [\"{tree}\"]\n");
    let refused = |stage: &Stage, tree: &str, mistake: &str| {
        stage.write("fdbroker.toml", &grant(tree));
        stage.assert_refused(&format!("%/fdbroker.toml:{mistake}"));
    };
    let stage = Stage::new();
    stage.directory("real/below");
    stage.write("real/file", "");
    symlink("real", stage.path("link")).expect("symlink");
    let wants = "write an absolute path without `.`, `..`, `//`, or `/` at its end";
    refused(&stage, "real", &format!("3:10: `real` in `trees`: {wants}"));
    refused(&stage, "%/real/../real", &format!("3:10: `%/real/../real` in `trees`: {wants}"));
    refused(
        &stage,
        "%/real/file",
        "3:10: tree `%/real/file` is not a directory; name the one that holds it",
    );
    refused(
        &stage,
        "%/none",
        "3:10: tree `%/none`: No such file or directory (os error 2); make it first, or take it out",
    );
    refused(&stage, "%/link", "3:10: tree `%/link` leads through a link; write `%/real`");
    refused(
        &stage,
        "%/link/below",
        "3:10: tree `%/link/below` leads through a link; write `%/real/below`",
    );
    stage.write("fdbroker.toml", "[[grant]]\nusers = [5]\n");
    stage.assert_refused("%/fdbroker.toml:1:1: this [[grant]] grants nothing; add `trees`");
    stage.write("fdbroker.toml", &grant("%/real/below"));
    stage.assert_warned(&[]);
}

#[test]
fn an_exception_that_would_hide_nothing_is_refused() {
    require_root!();
    let stage = Stage::new();
    stage.directory("tree/hidden/more");
    stage.directory("treetop");
    symlink("hidden", stage.path("tree/link")).expect("symlink");
    let with = |except: &str| {
        let text =
            format!("[[grant]]\nusers = [5]\ntrees = [\"%/tree\"]\nexcept = [\"{except}\"]\n");
        stage.write("fdbroker.toml", &text);
    };
    for beside in ["%/tree", "%/treetop", "/etc"] {
        with(beside);
        stage.assert_refused(&format!(
            "%/fdbroker.toml:4:11: `{beside}` in `except` is beneath none of the trees"
        ));
    }
    for (link, real) in
        [("link", "hidden"), ("link/more", "hidden/more"), ("link/none", "hidden/none")]
    {
        with(&format!("%/tree/{link}"));
        stage.assert_refused(&format!(
            "%/fdbroker.toml:4:11: `%/tree/{link}` in `except` leads through a link and would hide nothing; write `%/tree/{real}`"
        ));
    }
    with("%/tree/hidden");
    stage.assert_warned(&[]);
    with("%/tree/later");
    stage.assert_warned(&["%/fdbroker.toml:4:11: `%/tree/later` in `except` is not there"]);
}

#[test]
fn a_policy_that_does_not_fit_into_a_message_is_refused() {
    require_root!();
    let uids: Vec<String> = (0..4000).map(|nth| (100_000 + nth).to_string()).collect();
    let deny = format!("[[deny]]\nusers = [{}]\n", uids.join(", "));
    Stage::with(&deny).assert_warned(&[]);
    let output = Stage::with(&deny.repeat(6)).check().expect_code(2);
    let wants = "grants, denials and limits together take more than 65536 bytes; use groups in place of users";
    assert!(output.errors().contains(wants), "{output}");
}

#[test]
fn users_and_groups_are_known_by_name_or_number_and_names_come_first() {
    require_root!();
    let stage = Stage::with(
        "[[deny]]\nusers = [\"daemon\", 4242, \"4243\"]\ngroups = [\"daemon\", \"4244\"]\n",
    );
    let output = stage.check().expect_code(0);
    let line = output.line("denied").expect("a line");
    for who in ["daemon (", "uid 4242,", "uid 4243,", "group daemon (", "gid 4244"] {
        assert!(line.contains(who), "{who}: {output}");
    }
}
