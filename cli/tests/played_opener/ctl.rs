//! `fdbrokerctl` against a played opener and without any broker.

use std::process::{Command, Output};

use crate::fake::{Dir, Fake, found, report, status, stderr, stdout};
use fdbroker_common::outcome::Outcome;

fn ctl(dir: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fdbrokerctl"))
        .arg("--runtime-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn ping_is_good_only_if_eicar_is_found() {
    let fake = Fake::deciding(|target, _| vec![report(target, b"", found(&["EICAR"]))]);
    let good = ctl(&fake.dir.0, &["ping"]);
    assert!(stdout(&good).starts_with("EICAR found by generation abab"), "{good:?}");
    assert_eq!(status(&good), Some(0));

    let fake = Fake::deciding(|target, _| vec![report(target, b"", Outcome::Clean)]);
    let bad = ctl(&fake.dir.0, &["--json", "ping"]);
    let object: serde_json::Value = serde_json::from_str(stdout(&bad)).unwrap();
    assert_eq!(object["found"], serde_json::json!(false));
    assert_eq!(status(&bad), Some(1));
}

#[test]
fn without_a_broker_every_verb_says_so() {
    let dir = Dir::new();
    for verb in ["status", "ping", "reload", "self-test"] {
        let output = ctl(&dir.0, &[verb]);
        assert!(stderr(&output).starts_with("fdbrokerctl: no broker at "), "{output:?}");
        assert_eq!(status(&output), Some(2), "{verb}");
    }
}

#[test]
fn the_test_file_is_in_no_executable_and_no_source() {
    let front = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$";
    let whole = [front, "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!"].concat();
    for path in
        [env!("CARGO_BIN_EXE_fdbrokerctl"), concat!(env!("CARGO_MANIFEST_DIR"), "/src/eicar.rs")]
    {
        let bytes = std::fs::read(path).unwrap();
        let found = bytes.windows(whole.len()).any(|window| window == whole.as_bytes());
        assert!(!found, "{path}");
    }
}
