//! Which files are read, in which order, and what is said of them.

use std::process::{Command, Stdio};

use fdbroker_tests::skip::is_root;
use fdbroker_tests::{Caller, program, require_root};

use crate::stage::Stage;

#[test]
fn the_files_of_conf_d_are_read_after_the_first_in_order_of_their_names() {
    let stage = Stage::with("workers = 2\nrules = \"%\"\n");
    stage.write("conf.d/20-b.toml", "workers = 5\nspawn_scanner = false\n");
    stage.write("conf.d/10-a.toml", "workers = 4\nwatch_rules = true\n");
    // Left behind by editors and packages.
    for name in ["conf.d/.30.toml", "conf.d/30.toml~", "conf.d/30.toml.dpkg-old", "conf.d/README"] {
        stage.write(name, "this is no TOML");
    }
    let output = stage.check().expect_code(0);
    let expected = "configuration  %/fdbroker.toml, %/conf.d/10-a.toml, %/conf.d/20-b.toml";
    assert_eq!(output.line("configuration"), Some(stage.fill(expected)), "{output}");
    assert_eq!(output.line("workers"), Some("workers        5".into()), "{output}");
    assert_eq!(output.line("watch_rules"), Some("watch_rules    true".into()), "{output}");
    assert_eq!(output.line("rules"), Some(stage.fill("rules          %")), "{output}");
    stage.assert_warned(&[
        "%/conf.d/10-a.toml:1:1: `workers` replaces what %/fdbroker.toml:1 says",
        "%/conf.d/20-b.toml:1:1: `workers` replaces what %/conf.d/10-a.toml:1 says",
    ]);
}

#[test]
fn an_option_wins_over_a_file() {
    let stage = Stage::with("workers = 2\nrules = \"/no/such/directory\"\n");
    let program = stage.program(&Caller::own()).args(["--check-config", "--runtime-dir", "/run/x"]);
    let output = program.args(["--workers", "7", "--rules", "/etc"]).output().expect_code(0);
    assert_eq!(output.line("workers"), Some("workers        7".into()), "{output}");
    assert_eq!(output.line("rules"), Some("rules          /etc".into()), "{output}");
}

#[test]
fn what_is_in_force_is_told_with_names_numbers_and_places() {
    require_root!();
    let stage = Stage::with(
        "[audit]\nto = \"/var/log/x\"\nformat = \"json\"\nfiles = \"all\"\n\n\
         [[grant]]\nusers = [\"nobody\", 54321]\ngroups = [\"root\"]\ntrees = [\"/usr/share\"]\n\
         except = [\"/usr/share/doc\"]\nhard_links = true\n\
         [[deny]]\nusers = [\"4242\"]\n[[limit]]\nusers = [77777]\nscan_bytes = \"1K\"\nconnections = 3\n",
    );
    stage.directory("conf.d");
    let output = stage.check().expect_code(0);
    let lines: Vec<String> = output.text().lines().skip(1).map(str::to_owned).collect();
    let rules = if std::path::Path::new("/etc/fdbroker/rules.d").is_dir() {
        "rules          /etc/fdbroker/rules.d"
    } else {
        "rules          the built-in one alone"
    };
    let expected = [
        "served         every user, what they can read themselves; root everything",
        "runtime_dir    /run/x",
        rules,
        "watch_rules    false",
        "scanner_user   nobody (65534)",
        "spawn_scanner  false",
        "workers        what fdscand asks for",
        "audit          to /var/log/x, format json, files all",
        "denied         uid 4242 (%/fdbroker.toml:12)",
        "limit          uid 77777: connections 3, scan_bytes 1024 (%/fdbroker.toml:14)",
        "grant          nobody (65534), uid 54321, group root (0): /usr/share; except /usr/share/doc; also files with several names (%/fdbroker.toml:6)",
    ];
    assert_eq!(lines, expected.map(|line| stage.fill(line)), "{output}");
}

#[test]
fn an_ordinary_user_can_check_the_file_of_a_system() {
    let user = if is_root() { Caller::user(2000) } else { Caller::own() };
    let stage = Stage::with(
        "scanner_user = \"nobody\"\n[[grant]]\nusers = [\"root\"]\ntrees = [\"/usr\"]\n[[limit]]\nusers = [1]\n",
    );
    if is_root() {
        stage.give_to(2000);
    }
    let check = || stage.program(&user).arg("--runtime-dir").arg("/run/x");
    let output = check().arg("--check-config").output().expect_code(0);
    assert_eq!(
        output.line("audit"),
        Some("audit          to off, format text, files findings".into())
    );
    let errors = output.errors();
    for what in ["[[grant]]", "[[limit]]", "`scanner_user`"] {
        assert!(errors.contains(&format!("{what} needs a broker that root starts")), "{output}");
    }
    // Their own broker cannot do that.
    let output = check().output().expect_code(2);
    assert_eq!(output.errors().matches("needs a broker that root starts").count(), 3, "{output}");
}

#[test]
fn no_broker_is_needed_and_none_is_started() {
    let stage = Stage::with("spawn_scanner = true\n");
    let runtime = stage.path("run");
    let program = stage.program(&Caller::own()).args(["--check-config", "--runtime-dir"]);
    let output = program.arg(&runtime).output().expect_code(0);
    assert_eq!(output.line("spawn_scanner"), Some("spawn_scanner  true".into()), "{output}");
    assert!(!runtime.exists(), "{output}");
}

#[test]
fn an_answer_that_nobody_can_hear_is_no_success() {
    let stage = Stage::with("");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut command = Command::new(program::executable("fdbroker"));
    command.arg("--config").arg(stage.path("fdbroker.toml"));
    command.args(["--check-config", "--runtime-dir", "/run/x"]);
    let output = command.stdin(Stdio::null()).stdout(full).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{output:?}");
}
