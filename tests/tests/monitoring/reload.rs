//! Rules that are loaded again when their directory changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use fdbroker_tests::{Caller, Env, require_root, wait_until};

/// A broker that watches its rules, of which there is one.
fn watching() -> Env {
    let build = Env::build().rule("a.yar", "rule Old { condition: true }");
    build.broker_arg("--watch-rules").start_spawned()
}

/// Waits until a file is judged with these rules.
#[track_caller]
fn wait_for_rules(env: &Env, file: &Path, rules: &str) {
    let expected = format!("{}: {rules}\n", file.display());
    let judged = || env.fdscan(&Caller::user(2000), [Path::new("--no-summary"), file]).text();
    wait_until(rules, || (judged() == expected).then_some(()));
}

#[test]
fn files_that_are_added_written_renamed_and_removed_are_noticed() {
    require_root!();
    let env = watching();
    let file = env.file("some", b"file");
    wait_for_rules(&env, &file, "Old FOUND");
    env.write_rule("b.yar", "rule Second { condition: true }");
    wait_for_rules(&env, &file, "Old,Second FOUND");
    let rules = env.rules().unwrap();
    // In place.
    fs::write(rules.join("b.yar"), "rule Third { condition: true }").unwrap();
    wait_for_rules(&env, &file, "Old,Third FOUND");
    fs::rename(rules.join("b.yar"), rules.join("b.off")).unwrap();
    wait_for_rules(&env, &file, "Old FOUND");
    fs::remove_file(rules.join("a.yar")).unwrap();
    wait_for_rules(&env, &file, "OK");
    env.stop();
}

#[test]
fn bad_rules_leave_the_good_ones_and_are_told_until_they_are_mended() {
    require_root!();
    let env = watching();
    let file = env.file("some", b"file");
    let before = env.status().generation;
    env.write_rule("b.yar", "\nrule Bad { condition: nonsense }\n");
    let status =
        wait_until("a refusal", || Some(env.status()).filter(|status| status.load_failures > 0));
    assert_eq!(status.generation, before);
    let refused = status.last_load.and_then(|load| load.refused).unwrap();
    assert!(refused.starts_with("b.yar:2: unknown identifier"), "{refused}");
    assert!(env.broker().log().contains("rules refused: b.yar:2: "), "{}", env.log());
    wait_for_rules(&env, &file, "Old FOUND");
    env.write_rule("b.yar", "rule Good { condition: true }");
    wait_for_rules(&env, &file, "Old,Good FOUND");
    env.stop();
}

#[test]
fn a_directory_that_is_replaced_as_a_whole_is_noticed_again_and_again() {
    require_root!();
    let env = watching();
    let file = env.file("some", b"file");
    let rules = env.rules().unwrap().to_owned();
    for round in 0..3 {
        let next = rules.with_file_name("next");
        fs::create_dir(&next).unwrap();
        let name = format!("Round{round}");
        fs::write(next.join("x.yar"), format!("rule {name} {{ condition: true }}")).unwrap();
        fs::rename(&rules, rules.with_file_name(format!("old{round}"))).unwrap();
        fs::rename(&next, &rules).unwrap();
        wait_for_rules(&env, &file, &format!("{name} FOUND"));
    }
    env.stop();
}

#[test]
fn a_link_that_is_exchanged_is_noticed() {
    require_root!();
    let dir = fdbroker_tests::files::Scratch::new();
    let version = |number: u32| {
        let directory = dir.path().join(format!("v{number}"));
        fs::create_dir(&directory).unwrap();
        let rule = format!("rule Version{number} {{ condition: true }}");
        fs::write(directory.join("x.yar"), rule).unwrap();
        directory
    };
    let link = dir.path().join("rules");
    symlink(version(1), &link).unwrap();
    let build = Env::build().broker_arg("--watch-rules").broker_arg("--rules");
    let env = build.broker_arg(&link).start_spawned();
    let file = env.file("some", b"file");
    wait_for_rules(&env, &file, "Version1 FOUND");
    for number in 2..4 {
        let temporary = dir.path().join("next");
        symlink(version(number), &temporary).unwrap();
        fs::rename(&temporary, &link).unwrap();
        wait_for_rules(&env, &file, &format!("Version{number} FOUND"));
    }
    env.stop();
}

/// Whether the dispatcher has a watch.
fn is_watched(env: &Env) -> bool {
    let pids = env.named("fdb-dispatcher");
    assert_eq!(pids.len(), 1);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", pids[0])).unwrap().flatten();
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.as_os_str() == "anon_inode:inotify")
}

#[test]
fn without_the_option_there_is_no_watch() {
    require_root!();
    let rule = "rule Old { condition: true }";
    let env = Env::build().rule("a.yar", rule).start_spawned();
    assert!(!is_watched(&env));
    env.stop();
    let env = watching();
    assert!(is_watched(&env));
    env.stop();
}
