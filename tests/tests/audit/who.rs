//! Who, what, by which right, what came of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::program::executable;
use fdbroker_tests::{Caller, Env, Program, proc, require_root, require_tool, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{major, minor};
use serde_json::{Value, json};

use crate::stage::{Place, of};

/// Fields of a record, for comparison.
fn fields<const N: usize>(record: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| record[name].clone())
}

#[track_caller]
fn assert_is(record: &Value, path: &Path) {
    let meta = fs::metadata(path).expect("stat");
    let device = format!("{}:{}", major(meta.dev()), minor(meta.dev()));
    let expected = [json!(path), json!(device), json!(meta.ino())];
    assert_eq!(fields(record, ["path", "dev", "ino"]), expected, "{record}");
}

#[test]
fn a_request_of_a_user_is_recorded_with_who_what_and_outcome() {
    require_root!();
    let place = Place::new();
    let env = place.start_json();
    let tree = env.dir().join("tree");
    files::write(&tree.join("clean"), b"nothing");
    let found = env.file("tree/found", EICAR);
    let secret = env.file("tree/secret", EICAR);
    files::own(&secret, 0, 0, 0o600);
    let caller = Caller { uid: 2000, gid: 2100, groups: vec![3000] };
    let fdscan = env.fdscan_program(&caller).arg(&tree).spawn();
    let pid = fdscan.pid();
    let _ = fdscan.finish().expect_code(1);
    let records = place.after_requests(1);
    let exe = json!(executable("fdscan"));
    let who = [json!(2000), json!(2100), json!(pid), exe, json!(1)];
    for record in records.iter().skip(1) {
        assert_eq!(fields(record, ["uid", "gid", "pid", "exe", "connection"]), who, "{record}");
    }
    let [connection] = of(&records, "connection")[..] else { panic!("{records:#?}") };
    let decided = fields(connection, ["decision", "authorization"]);
    assert_eq!(decided, [json!("allowed"), json!("default")]);
    let [target] = of(&records, "target")[..] else { panic!("{records:#?}") };
    assert_is(target, &tree);
    assert_eq!(target["kind"], "directory");
    let mut findings = of(&records, "file");
    findings.sort_by_key(|record| record["outcome"].to_string());
    let [denied, matched] = findings[..] else { panic!("{records:#?}") };
    assert_eq!(fields(denied, ["outcome", "path"]), [json!("denied"), json!(secret)]);
    assert_is(matched, &found);
    let told = fields(matched, ["outcome", "rules", "size"]);
    assert_eq!(told, [json!("match"), json!(["EICAR_Test_File"]), json!(68)]);
    let [request] = of(&records, "request")[..] else { panic!("{records:#?}") };
    let generation = env.status().generation.expect("rules are loaded").to_string();
    let told = fields(request, ["outcome", "targets", "clean", "matched", "denied", "generation"]);
    let expected = [json!("match"), json!(1), json!(1), json!(1), json!(1), json!(generation)];
    assert_eq!(told, expected, "{request}");
    let opener = env.named("fdb-opener");
    assert_eq!(fields(request, ["opener", "request"]), [json!(opener[0]), json!(1)]);
}

#[test]
fn every_scan_of_every_caller_has_its_own_record_in_text_too() {
    require_root!();
    let place = Place::new();
    let config = place.to_file("files = \"none\"");
    let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
    let (clean, found) = (env.file("clean", b"nothing"), env.file("found", EICAR));
    // The same opener serves two connections of a user: each has the process that made it.
    for (uid, path, code) in [(0, &found, 1), (2000, &clean, 0), (2000, &found, 1)] {
        let fdscan = env.fdscan_program(&Caller::user(uid)).arg(path).spawn();
        let pid = fdscan.pid();
        let _ = fdscan.finish().expect_code(code);
        let rule = if uid == 0 { "root" } else { "default" };
        let outcome = if code == 1 { "match" } else { "clean" };
        let who = format!("event=\"request\" uid={uid} gid={uid} pid={pid} exe=\"");
        let line =
            wait_until("its record", || place.lines().into_iter().find(|line| line.contains(&who)));
        assert!(line.starts_with("time=\"20"), "{line}");
        assert!(line.contains(&format!("authorization=\"{rule}\" ")), "{line}");
        assert!(line.contains(&format!("outcome=\"{outcome}\" ")), "{line}");
    }
    let lines = place.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("event=\"file\"")).count(), 0);
    assert_eq!(lines.iter().filter(|line| line.contains("event=\"target\"")).count(), 3);
}

#[test]
fn all_files_are_recorded_if_that_is_asked_for() {
    require_root!();
    let place = Place::new();
    let config = place.to_file("format = \"json\"\nfiles = \"all\"");
    let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, 3000, b"nothing");
    assert_eq!(env.fdscan(&Caller::user(2000), ["-i".as_ref(), tree.as_path()]).code, Some(0));
    let records = place.after_requests(1);
    let mut names: Vec<String> = of(&records, "file")
        .iter()
        .map(|record| record["path"].as_str().expect("a path").to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3000);
}

#[test]
fn a_refused_connection_is_recorded_with_its_caller() {
    require_root!();
    let place = Place::new();
    files::own(place.dir(), 2000, 2000, 0o755);
    let config = place.to_file("format = \"json\"");
    let env = Env::build().broker_arg("--config").broker_arg(config).start_rootless(2000);
    let fdscan = env.fdscan_program(&Caller::root()).arg("/etc/passwd").spawn();
    let pid = fdscan.pid();
    assert_ne!(fdscan.finish().code, Some(0));
    let record =
        wait_until("a record", || of(&place.records(), "connection").first().map(|r| (*r).clone()));
    let told = fields(&record, ["uid", "gid", "pid", "decision", "reason"]);
    let expected = [json!(0), json!(0), json!(pid), json!("denied"), json!("NotAllowed")];
    assert_eq!(told, expected, "{record}");
    // The owner's own processes are seen, those of others are not: this auditor has no capability.
    assert_eq!(record["exe"], Value::Null);
    assert_eq!(env.fdscan(&Caller::user(2000), ["/etc/passwd"]).code, Some(0));
    let records = place.after_requests(1);
    let [request] = of(&records, "request")[..] else { panic!("{records:#?}") };
    assert_eq!(request["authorization"], "own");
}

#[test]
fn without_the_capability_the_executable_of_others_is_unknown_and_the_rest_is_there() {
    require_root!();
    require_tool!("setpriv");
    let place = Place::new();
    let mut env = Env::build().idle();
    let broker = Program::at(Path::new("/usr/bin/setpriv"))
        .arg("--bounding-set=-sys_ptrace")
        .arg(executable("fdbroker"))
        .args(["--spawn-scanner", "--runtime-dir"])
        .arg(env.runtime())
        .arg("--config")
        .arg(place.to_file("format = \"json\""))
        .spawn();
    env.put_back(broker);
    env.wait_serving();
    let auditor = env.named("fdb-auditor");
    assert_eq!(proc::status(auditor[0]).expect("it lives").cap_prm, 0);
    assert_eq!(env.fdscan(&Caller::user(2000), [env.file("f", b"nothing")]).code, Some(0));
    let records = place.after_requests(1);
    let [request] = of(&records, "request")[..] else { panic!("{records:#?}") };
    assert_eq!(fields(request, ["uid", "exe"]), [json!(2000), Value::Null]);
}

#[test]
fn a_scan_whose_opener_is_killed_by_its_caller_is_still_recorded() {
    require_root!();
    let place = Place::new();
    let env = place.start_json();
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&env.file("found", EICAR), "EICAR_Test_File FOUND");
    let opener = env.named("fdb-opener")[0];
    kill(Pid::from_raw(i32::try_from(opener).expect("a pid")), Signal::SIGKILL).expect("kill");
    let records = place.after_requests(1);
    let request = of(&records, "request")[0];
    let told = fields(request, ["uid", "opener", "outcome"]);
    assert_eq!(told, [json!(2000), json!(opener), json!("unknown")], "{request}");
    assert_eq!(of(&records, "file").len(), 1);
    // It is begun again elsewhere, which has its own record.
    let _ = feed.finish();
}
