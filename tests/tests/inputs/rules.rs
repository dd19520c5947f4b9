//! Rules that cannot be used: which file, which line, why; at the start of a broker of any kind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fdbroker_tests::{Env, Output, Program, files, require_root, skip};

use crate::stage::{NEEDLE, RULE, Stage, USERS};

const BAD: &str = "rule Fine { condition: true }\n\nrule Bad { condition: nonsense }\n";

/// Makes directories of rules of which none can be used, with what has to be said of each.
fn unusable(env: &Env) -> Vec<(&'static str, Vec<&'static str>)> {
    let _ = env.file("bad/a.yar", RULE.as_bytes());
    let _ = env.file("bad/b.yar", BAD.as_bytes());
    let _ = env.file("syntax/s.yara", b"rule {\n");
    let _ = env.file("include/i.yar", b"include \"/etc/passwd\"\n");
    let _ = env.file("fifo/.keep", b"");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::unistd::mkfifo(&env.dir().join("fifo/f.yar"), mode).unwrap();
    let _ = env.file("directory/d.yar/x", b"");
    let huge = env.file("huge/h.yar", b"");
    fs::File::options().write(true).open(huge).unwrap().set_len((64 << 20) + 1).unwrap();
    let _ = env.file("binary/x.yar", b"rule a { condition: true }\n\xff\xfe\x00");
    vec![
        ("bad", vec!["b.yar:3: ", "nonsense"]),
        ("syntax", vec!["s.yara:1: ", "syntax error"]),
        ("include", vec!["i.yar:1: ", "include"]),
        ("fifo", vec!["f.yar: ", "not a regular file"]),
        ("directory", vec!["d.yar: ", "not a regular file"]),
        ("huge", vec!["h.yar: ", "larger than 67108864 bytes"]),
        ("binary", vec!["x.yar:2: "]),
        ("missing", vec!["missing: ", "No such file or directory"]),
    ]
}

#[track_caller]
fn private(stage: &Stage, rules: &Path, target: &Path) -> Output {
    let fdscan = Program::at(&stage.env.install().join("fdscan")).caller(&stage.caller);
    fdscan.arg("--no-summary").arg("--rules").arg(rules).arg(target).output()
}

#[test]
fn a_private_broker_says_which_line_is_wrong() {
    let stage = Stage::new();
    let target = stage.env.file("t/found", NEEDLE);
    let mut cases = unusable(&stage.env);
    if skip::is_root() {
        files::own(&stage.env.file("unreadable/u.yar", b""), 0, 0, 0o600);
        cases.push(("unreadable", vec!["u.yar: ", "Permission denied"]));
    }
    for (name, reasons) in cases {
        let output = private(&stage, &stage.path(name), &target).expect_code(2);
        assert_eq!(output.text(), "", "{name}");
        let errors = output.errors();
        let told: Vec<&str> = errors
            .lines()
            .filter(|line| reasons.iter().all(|reason| line.contains(reason)))
            .collect();
        assert_eq!(told.len(), 1, "{name}: one line with {reasons:?}: {output}");
        assert_eq!(errors.lines().count(), 1, "{name}: and no other line: {output}");
    }
    let output = private(&stage, Path::new("/etc/passwd"), &target).expect_code(2);
    assert_eq!(output.errors(), "fdscan: --rules /etc/passwd: Not a directory\n");
}

#[test]
fn a_private_broker_with_good_rules_says_nothing_else() {
    let stage = Stage::new();
    let target = stage.env.file("t/found", NEEDLE);
    let _ = stage.env.file("good/a.yar", RULE.as_bytes());
    let _ = stage.env.file("good/.hidden.yar", b"rule {");
    let _ = stage.env.file("good/readme.txt", b"rule {");
    let _ = stage.env.file("good/sub/b.yar", b"rule {");
    let output = private(&stage, &stage.path("good"), &target).expect_code(1);
    assert_eq!(output.text(), format!("{}: Needle FOUND\n", target.display()));
    assert_eq!(output.errors(), "");
}

#[test]
fn no_rules_at_all_are_told_of() {
    let stage = Stage::new();
    let target = stage.env.file("t/found", NEEDLE);
    fs::create_dir(stage.path("empty")).unwrap();
    fs::set_permissions(stage.path("empty"), PermissionsExt::from_mode(0o755)).unwrap();
    let output = private(&stage, &stage.path("empty"), &target).expect_code(0);
    assert_eq!(output.text(), format!("{}: OK\n", target.display()));
    assert!(output.errors().contains("only the built-in EICAR test rule is loaded"), "{output}");
}

#[test]
fn a_system_broker_with_bad_rules_does_not_start() {
    require_root!();
    let env = Env::build().idle();
    for (name, reasons) in unusable(&env) {
        let program = Program::new("fdbroker").arg("--runtime-dir").arg(env.runtime());
        let program = program.args(["--spawn-scanner", "--rules"]).arg(env.dir().join(name));
        let output = program.spawn().finish_within(Duration::from_secs(60));
        assert_eq!(output.code, Some(2), "{name}: {output}");
        let errors = output.errors();
        let last = errors.lines().next_back().unwrap_or_default();
        assert!(last.starts_with("fdbroker: "), "{name}: {output}");
        assert!(reasons.iter().all(|reason| last.contains(reason)), "{name}: {output}");
        let left: Vec<_> = fs::read_dir(env.runtime()).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn a_system_broker_reads_rules_that_are_for_root_alone() {
    require_root!();
    let stage = Stage::with(&[("secret.yar", "rule Secret { condition: filesize == 3 }")]);
    files::own(&stage.env.rules().unwrap().join("secret.yar"), 0, 0, 0o600);
    let reloaded = stage.env.ctl(["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded}");
    let target = stage.env.file("t/three", b"abc");
    let output = stage.scan([&target]).expect_code(1);
    assert_eq!(output.text(), format!("{}: Secret FOUND\n", target.display()));
    assert_eq!(stage.caller.uid, USERS[0]);
}
