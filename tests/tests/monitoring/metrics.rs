//! Metrics: what they say, that they are documented, and how the file is replaced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, require_root, wait_until};

use crate::exposition::{Family, read};

/// The one sample with this value of a label, or without labels.
#[track_caller]
fn value(family: &Family, label: Option<&str>) -> f64 {
    let is_it = |labels: &[(String, String)]| match label {
        Some(value) => labels.iter().any(|(_, it)| it == value),
        None => labels.is_empty(),
    };
    family.samples.iter().find(|sample| is_it(&sample.1)).expect("a sample").2
}

#[test]
fn metrics_say_what_was_scanned_and_with_which_rules() {
    require_root!();
    let env = Env::build().rule("a.yar", "rule A { condition: false }").start_spawned();
    let good = env.file("tree/good", b"good");
    let _ = env.file("tree/bad", EICAR);
    let scanned = env.fdscan(&Caller::user(2000), [good.parent().unwrap()]);
    assert_eq!(scanned.code, Some(1), "{scanned}");
    wait_until("the connection is counted", || (env.status().connections > 0).then_some(()));
    let families = read(&env.ctl(["metrics"]).expect_code(0).text());
    let one = |name: &str| value(&families[&format!("fdbroker_{name}")], None);
    assert_eq!((one("up"), one("scanner_ready"), one("rules")), (1.0, 1.0, 2.0));
    assert_eq!((one("reloads_total"), one("reload_failures_total")), (1.0, 0.0));
    assert_eq!((one("connections_total"), one("scanned_bytes_total")), (1.0, 72.0));
    let files = &families["fdbroker_files_total"];
    let outcomes = ["clean", "match", "error"].map(|outcome| value(files, Some(outcome)));
    assert_eq!(outcomes, [1.0, 1.0, 0.0]);
    let generation = env.status().generation.unwrap().to_string();
    let info = &families["fdbroker_rules_generation_info"];
    assert_eq!(value(info, Some(&generation)), 1.0);
    for histogram in ["worker_wait_seconds", "connection_seconds"] {
        let family = &families[&format!("fdbroker_{histogram}")];
        let count = family.samples.iter().find(|sample| sample.0.ends_with("_count")).unwrap();
        assert_eq!(count.2, 1.0, "{histogram}");
    }
    assert_eq!(value(&families["fdbroker_user_openers"], Some("2000")), 1.0);
    env.stop();
}

#[test]
fn refused_rules_are_counted_and_the_good_ones_named() {
    require_root!();
    let env = Env::build().rule("a.yar", "rule A { condition: false }").start_spawned();
    let before = env.status().generation;
    env.write_rule("b.yar", "\nrule B { condition: nonsense }\n");
    let reload = env.ctl(["reload"]).expect_code(1);
    assert!(reload.text().contains("b.yar:2: "), "{reload}");
    let families = read(&env.ctl(["metrics"]).expect_code(0).text());
    let one = |name: &str| value(&families[&format!("fdbroker_{name}")], None);
    assert_eq!((one("reloads_total"), one("reload_failures_total")), (1.0, 1.0));
    assert_eq!((one("last_reload_success"), one("errors_total")), (0.0, 1.0));
    assert_eq!(env.status().generation, before);
    let status = env.ctl(["status"]).expect_code(0);
    assert!(status.text().contains(": refused: b.yar:2: "), "{status}");
    assert!(status.text().contains("(1 good, 1 refused in all)"), "{status}");
    env.stop();
}

/// Names, kinds and labels in the tables of the page.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `fdbroker_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels)
    };
    rows.map(row).collect()
}

#[test]
fn every_metric_is_documented_and_nothing_else_is() {
    require_root!();
    let env = Env::build().start_spawned();
    let _ = env.fdscan(&Caller::user(2000), [env.file("some", b"file")]);
    let families = read(&env.ctl(["metrics"]).expect_code(0).text());
    let found = families.into_iter().map(|(name, family)| {
        let labels = family.samples.into_iter().flat_map(|sample| sample.1);
        (name, family.kind, labels.map(|(label, _)| label).collect())
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), documented());
    env.stop();
}

#[test]
fn a_file_of_metrics_is_replaced_whole_and_says_when_nobody_answers() {
    require_root!();
    let env = Env::build().start_spawned();
    let file = env.dir().join("fdbroker.prom");
    let write = |code| {
        let arguments = ["metrics", "--output", file.to_str().unwrap()];
        let output = env.ctl(arguments).expect_code(code);
        assert_eq!(output.text(), "");
        output
    };
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
    write(0);
    let about = fs::metadata(&file).unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&about), inode, "written in place");
    assert_eq!(about.permissions().mode() & 0o7777, 0o644);
    assert!(read(&fs::read_to_string(&file).unwrap()).len() > 20);
    let left = fs::read_dir(env.dir()).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().contains(".prom."));
    assert_eq!(left.count(), 0, "a temporary file is left");

    let nowhere = env.dir().join("nowhere");
    let arguments = ["--runtime-dir", nowhere.to_str().unwrap(), "metrics", "--output"];
    let program = fdbroker_tests::Program::new("fdbrokerctl").args(arguments).arg(&file);
    let output = program.output().expect_code(2);
    assert!(output.errors().contains("no broker at"), "{output}");
    let families = read(&fs::read_to_string(&file).unwrap());
    assert_eq!((families.len(), value(&families["fdbroker_up"], None)), (1, 0.0));
    let missing = env.ctl(["metrics", "--output", "/nonexistent/x.prom"]).expect_code(2);
    assert!(missing.errors().contains("/nonexistent/x.prom: No such file"), "{missing}");
    env.stop();
}
