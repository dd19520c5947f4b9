//! `fdbrokerctl explain`: it says what a scan would meet, and does nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use fdbroker_tests::files::EICAR;
use fdbroker_tests::skip::is_root;
use fdbroker_tests::{Caller, Env, Output, files, require_root};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::stage::Stage;

const CONFIGURATION: &str = "[[grant]]\nusers = [5000]\ntrees = [\"%/tree\"]\nexcept = [\"%/tree/keys\"]\n\
                             [[grant]]\nusers = [5002]\ntrees = [\"/\"]\n\
                             [[deny]]\nusers = [5001]\n[[limit]]\ngroups = [7700]\nconnections = 3\n";

/// The files that the configuration is about.
fn stage() -> Stage {
    let stage = Stage::with(CONFIGURATION);
    let names =
        ["open/file", "open/unreadable", "tree/file", "tree/two", "tree/keys/file", "private/file"];
    for name in names {
        files::write(&stage.path(name), EICAR);
    }
    fs::hard_link(stage.path("tree/two"), stage.path("tree/three")).expect("link");
    symlink("file", stage.path("tree/link")).expect("symlink");
    symlink("../private/file", stage.path("open/away")).expect("symlink");
    symlink("unreadable/../file", stage.path("open/round")).expect("symlink");
    mkfifo(&stage.path("open/fifo"), Mode::S_IRUSR | Mode::S_IROTH).expect("mkfifo");
    files::own(&stage.path("open/unreadable"), 0, 0, 0o600);
    for private in ["tree", "private"] {
        files::own(&stage.path(private), 0, 0, 0o700);
    }
    stage
}

/// A broker of root with that configuration.
fn serving(stage: &Stage) -> Env {
    Env::build().broker_arg("--config").broker_arg(stage.path("fdbroker.toml")).start_spawned()
}

fn explain(env: &Env, user: &str, path: impl AsRef<OsStr>) -> Output {
    env.ctl([OsStr::new("--json"), OsStr::new("explain"), OsStr::new(user), path.as_ref()])
}

fn object(output: &Output) -> Value {
    serde_json::from_str(&output.text()).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Answer, reason, last component of what refuses, and what each grant makes of it, in words.
fn told(output: &Output) -> String {
    let object = object(output);
    let word = |field: &str| object[field].as_str().unwrap_or("-").to_owned();
    let refused = object["refused_by"]["text"]
        .as_str()
        .unwrap_or("-")
        .rsplit('/')
        .next()
        .unwrap_or("-")
        .to_owned();
    let grants = object["grants"].as_array().expect("grants");
    let grants: Vec<&str> =
        grants.iter().map(|grant| grant["reach"].as_str().unwrap_or("?")).collect();
    format!("{} | {} | {refused} | {}", word("answer"), word("reason"), grants.join(","))
}

#[test]
fn each_refusal_is_told_with_the_component_or_rule_that_refuses() {
    require_root!();
    let stage = stage();
    let env = serving(&stage);
    let (no, unread) = ("Permission denied", "they may not read it");
    for (user, name, expected) in [
        ("5000:5000", "open/file", "allowed | - | - | outside".to_owned()),
        ("5000:5000", "open/round", "refused | Not a directory | unreadable | outside".into()),
        ("5000:5000", "open/unreadable", format!("refused | {unread} | unreadable | outside")),
        ("5000:5000", "open/away", format!("refused | {no} | private | outside")),
        ("5000:5000", "open/fifo", "skipped | - | - | outside".into()),
        ("5000:5000", "open/none", "refused | No such file or directory | open | outside".into()),
        ("5000:5000", "private/file", format!("refused | {no} | private | outside")),
        ("5000:5000", "tree/file", format!("granted | {no} | tree | reached")),
        ("5000:5000", "tree", format!("granted | {unread} | tree | reached")),
        ("5000:5000", "tree/two", format!("refused | {no} | tree | hard-links")),
        ("5000:5000", "tree/link", format!("refused | {no} | tree | link")),
        ("5000:5000", "tree/keys/file", format!("refused | {no} | tree | excepted")),
        ("5000:5000", "tree/none", format!("refused | {no} | tree | failed")),
        ("5003:5003", "tree/file", format!("refused | {no} | tree | ")),
        ("5003:0", "open/unreadable", format!("refused | {unread} | unreadable | ")),
        ("5001:5001", "open/file", "refused | - | - | ".into()),
        ("root", "private/file", "allowed | - | - | ".into()),
        ("root", "open/unreadable", "allowed | - | - | ".into()),
    ] {
        let output = explain(&env, user, stage.path(name));
        assert_eq!(told(&output), expected, "{user} {name}: {output}");
        let allowed = expected.starts_with("allowed") || expected.starts_with("granted");
        assert_eq!(output.code, Some(i32::from(!allowed)), "{user} {name}: {output}");
    }
    // Where a process would wait or a device be asked, and what another mount hides.
    assert_eq!(told(&explain(&env, "5002:1", "/proc/version")), "skipped | - | - | mount");
    assert_eq!(told(&explain(&env, "5002:1", "/dev/null")).split(" |").next(), Some("skipped"));
}

#[test]
fn what_is_told_is_what_a_scan_meets() {
    require_root!();
    let stage = stage();
    let env = serving(&stage);
    for uid in [0, 5000, 5003] {
        let caller = Caller::user(uid);
        for name in [
            "open/file",
            "open/unreadable",
            "private/file",
            "tree/file",
            "tree/two",
            "tree/keys/file",
            "tree/link",
            "open/fifo",
        ] {
            let path = stage.path(name);
            let answer = object(&explain(&env, &format!("{uid}:{uid}"), &path))["answer"].clone();
            let plain = env.fdscan(&caller, [&path]).text();
            let granted = env.fdscan(&caller, [Path::new("--granted"), &path]).text();
            let found = |text: &str| text.contains("FOUND");
            let expected = match (found(&plain), found(&granted)) {
                (true, _) => "allowed",
                (false, true) => "granted",
                _ if plain.contains("SKIPPED") => "skipped",
                _ => "refused",
            };
            assert_eq!(answer, expected, "{uid} {name}:\n{plain}{granted}");
        }
    }
}

#[test]
fn the_rule_the_limits_and_their_places_are_told() {
    require_root!();
    let stage = stage();
    let env = serving(&stage);
    let path = stage.path("open/file");
    let limited = object(&explain(&env, "5003:5003,7700,7701", &path));
    assert_eq!(limited["rule"], "default");
    assert_eq!(limited["groups"], serde_json::json!([7700, 7701]));
    assert_eq!(limited["limits"], "connections 3");
    assert_eq!(limited["limits_at"], stage.fill("%/fdbroker.toml:10"));
    let denied = object(&explain(&env, "5001:1", &path));
    assert_eq!(
        (&denied["rule"], &denied["rule_at"]),
        (&"denied".into(), &stage.fill("%/fdbroker.toml:8").into())
    );
    let root = object(&explain(&env, "root", &path));
    assert_eq!((root["rule"].as_str(), root["uid"].as_u64()), (Some("root"), Some(0)));
    // What is on disk counts, as it is now.
    stage.write("fdbroker.toml", "[[deny]]\nusers = [5003]\n");
    assert_eq!(object(&explain(&env, "5003:5003", &path))["rule"], "denied");
    stage.write("fdbroker.toml", "[[deny]]\nuser = [5003]\n");
    let output = explain(&env, "5003:5003", &path);
    assert_eq!((output.code, output.text().as_str()), (Some(2), ""), "{output}");
    assert!(output.errors().contains("unknown key `user` in [[deny]]"), "{output}");
}

#[test]
fn text_names_the_way_and_shows_no_control_bytes() {
    require_root!();
    let stage = stage();
    let env = serving(&stage);
    let name = stage.path("open").join(OsStr::from_bytes(b"a\n\x1b[2J\xff"));
    files::write(&name, EICAR);
    let output =
        env.ctl([OsStr::new("explain"), OsStr::new("5003:5003"), name.as_ref()]).expect_code(0);
    assert!(output.text().ends_with("/open/a\\n\\x1b[2J\\xff\n"), "{output}");
    assert!(!output.text().contains('\x1b'), "{output}");
    let output = env.ctl([
        OsStr::new("explain"),
        OsStr::new("5003:5003"),
        stage.path("private/file").as_ref(),
    ]);
    let line = stage.fill("way     directory 0700 0:0 %/private  <- ends here\nreason  Permission denied\nanswer  refused\n");
    assert!(output.text().ends_with(&line), "{output}");
}

#[test]
fn only_an_administrator_is_told_and_only_of_users_that_there_are() {
    let user = if is_root() { Caller::user(2000) } else { Caller::own() };
    let personal = Env::rootless(user.uid);
    let own = format!("{0}:{0}", user.uid);
    let output = personal.ctl_as(&user, ["explain", &own, "/etc/passwd"]).expect_code(0);
    assert!(output.text().contains("rule    owner: "), "{output}");
    let output = personal.ctl_as(&user, ["explain", "4999:4999", "/etc/passwd"]).expect_code(1);
    assert!(output.text().contains("the broker is another user's own"), "{output}");
    let output = personal.ctl_as(&user, ["explain", "no-such-user", "/"]).expect_code(2);
    assert!(output.errors().contains("no user \"no-such-user\""), "{output}");
    require_root!();
    let stage = stage();
    let env = serving(&stage);
    let output = env.ctl_as(&user, ["explain", "root", "/"]).expect_code(2);
    assert!(output.errors().contains("only root, or the owner of the broker"), "{output}");
}
