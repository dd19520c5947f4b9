//! `fdbrokerctl self-test` on each kind of installation.

use std::collections::BTreeMap;

use fdbroker_common::probe::{Act, Fence, landlock_abi};
use fdbroker_tests::skip::is_root;
use fdbroker_tests::{Caller, Env, require_root};
use serde_json::Value;

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("no {field} in {object}"))
}

/// What `--json` tells of each act in each fence.
fn told(env: &Env) -> BTreeMap<(String, String), String> {
    let output = env.ctl(["self-test", "--json"]).expect_code(0);
    let object: Value = serde_json::from_str(&output.text()).expect("an object");
    assert_eq!(object["ok"], true);
    let checks = object["checks"].as_array().expect("checks");
    let walked = checks.iter().any(|check| text(check, "detail").contains("files of a directory"));
    assert!(walked, "files were not found by name: {object}");
    let probes = object["probes"].as_array().expect("probes");
    let told: BTreeMap<(String, String), String> = probes
        .iter()
        .map(|probe| {
            assert_eq!(probe["ok"], true, "{probe}");
            let key = (text(probe, "fence").to_owned(), text(probe, "act").to_owned());
            (key, probe["found"].as_str().unwrap_or("not tried").to_owned())
        })
        .collect();
    assert_eq!(told.len(), probes.len(), "an act is told twice");
    told
}

/// Every act that a fence has to refuse was tried and came to what the list says.
#[track_caller]
fn assert_complete(told: &BTreeMap<(String, String), String>, fences: &[Fence]) {
    let abi = landlock_abi();
    let mut count = 0;
    for (fence, act) in
        fences.iter().flat_map(|fence| Act::ALL.iter().map(move |act| (*fence, *act)))
    {
        let Some(expected) = act.expected(fence) else {
            continue;
        };
        count += 1;
        let found = told.get(&(fence.name().to_owned(), act.name().to_owned()));
        let found = found.unwrap_or_else(|| panic!("{fence} {} is missing", act.name()));
        let may: Vec<String> = expected.any_of.iter().map(ToString::to_string).collect();
        if expected.landlock > abi {
            assert_eq!(found, "not tried");
        } else {
            assert!(may.contains(found), "{fence} {}: {found}, not {may:?}", act.name());
        }
    }
    assert_eq!(told.len(), count, "more than the list has");
}

/// The words of some lines, so that an error in the list itself would be seen.
#[track_caller]
fn assert_known(told: &BTreeMap<(String, String), String>) {
    let of_worker = told.iter().filter(|((fence, _), _)| fence == "worker");
    let refused: Vec<&str> = of_worker
        .filter(|(_, found)| !found.starts_with("killed by SIG"))
        .map(|((_, act), _)| act.as_str())
        .collect();
    // Beyond a limit, which is for errors of the engine as well.
    assert_eq!(refused, ["brk-limit", "mmap-addresses", "mmap-limit"]);
    for (fence, act, found) in [
        ("worker", "openat", "killed by SIGSYS"),
        ("worker", "mmap-limit", "refused: ENOMEM"),
        ("opener", "open-write", "refused: EACCES"),
        ("opener", "open_by_handle_at", "refused: EPERM"),
        ("opener", "write", "refused: EBADF"),
        ("opener", "i386", "killed by SIGSYS"),
        ("dispatcher", "openat", "refused: EPERM"),
        ("broker", "execve", "refused: EACCES"),
        ("broker", "socket-inet", "refused: EPERM"),
        ("broker", "clone3", "refused: ENOSYS"),
    ] {
        let is = told.get(&(fence.to_owned(), act.to_owned()));
        assert_eq!(is.map(String::as_str), Some(found), "{fence} {act}");
    }
}

#[test]
fn every_forbidden_act_fails_when_the_broker_starts_the_scanner() {
    require_root!();
    let env = Env::start_spawned();
    let told = told(&env);
    assert_complete(&told, &Fence::ALL);
    assert_known(&told);
}

#[test]
fn every_forbidden_act_fails_when_the_scanner_is_started_by_hand() {
    require_root!();
    let env = Env::start_separate();
    let told = told(&env);
    assert_complete(&told, &Fence::ALL);
    assert_known(&told);
}

#[test]
fn every_forbidden_act_fails_with_a_broker_of_ones_own() {
    let user = if is_root() { Caller::user(2000) } else { Caller::own() };
    let env = Env::rootless(user.uid);
    let told = told(&env);
    // Nobody reads for root there.
    assert_complete(&told, &[Fence::Worker, Fence::Opener, Fence::Dispatcher, Fence::Broker]);
    assert_known(&told);
}

#[test]
fn the_table_has_a_line_for_each_act_and_leaves_nothing_behind() {
    require_root!();
    let env = Env::start_spawned();
    let place = env.dir().join("tmp");
    std::fs::create_dir(&place).expect("mkdir");
    fdbroker_tests::files::own(&place, 0, 0, 0o755);
    let output = fdbroker_tests::Program::new("fdbrokerctl")
        .args(["self-test", "--runtime-dir"])
        .arg(env.runtime())
        .variable("TMPDIR", &place)
        .output()
        .expect_code(0);
    let told = output.text();
    let lines = |beginning: &str| told.lines().filter(|line| line.starts_with(beginning)).count();
    for fence in Fence::ALL {
        let acts = Act::ALL.iter().filter(|act| act.expected(fence).is_some()).count();
        let named = [format!("ok    {fence} "), format!("-     {fence} ")];
        // A process is named by its number, an act by a word.
        let own = |line: &&str| {
            line.split_whitespace().nth(2).is_some_and(|word| Act::named(word).is_some())
        };
        let shown = told.lines().filter(|line| named.iter().any(|name| line.starts_with(name)));
        assert_eq!(shown.filter(own).count(), acts, "{fence}\n{output}");
    }
    assert_eq!(lines("FAIL"), 0, "{output}");
    assert!(told.ends_with(", 0 not refused as they must be\n"), "{output}");
    assert_eq!(output.errors(), "");
    assert_eq!(std::fs::read_dir(&place).expect("the place").count(), 0);
    // An ordinary crash would be logged as one.
    assert!(!env.log().contains("WARN"), "{}", env.log());
}
