//! New rules while files are scanned: bad ones change nothing, good ones lose nothing.

use std::fs;
use std::path::Path;

use fdbroker_tests::PATIENCE;

use crate::slow::{BUSY_MARK, busy_rule};
use crate::stage::{NEEDLE, RULE, Stage, expected};

#[track_caller]
fn refused(stage: &Stage, reasons: &[&str]) {
    let before = stage.env.status();
    let output = stage.env.ctl(["reload"]).expect_code(1);
    let said = format!("{}{}", output.text(), output.errors());
    assert_eq!(said.lines().count(), 1, "{output}");
    assert!(reasons.iter().all(|reason| said.contains(reason)), "{reasons:?}: {output}");
    let after = stage.env.status();
    assert_eq!((before.generation, before.rules), (after.generation, after.rules));
    // Still the old ones.
    let target = stage.env.file("t/found", NEEDLE);
    let output = stage.scan([&target]).expect_code(1);
    assert_eq!(output.text(), format!("{}: Needle FOUND\n", target.display()));
}

#[test]
fn bad_rules_are_refused_and_the_old_ones_serve_on() {
    let stage = Stage::new();
    let rules = stage.env.rules().unwrap().to_path_buf();

    stage.env.write_rule("bad.yar", "\nrule Bad { condition: nonsense }");
    refused(&stage, &["bad.yar:2: ", "nonsense"]);
    fs::remove_file(rules.join("bad.yar")).unwrap();

    nix::unistd::mkfifo(&rules.join("fifo.yar"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    refused(&stage, &["fifo.yar: ", "not a regular file"]);
    fs::remove_file(rules.join("fifo.yar")).unwrap();

    stage.env.write_rule("huge.yar", "");
    let huge = fs::File::options().write(true).open(rules.join("huge.yar")).unwrap();
    huge.set_len((64 << 20) + 1).unwrap();
    refused(&stage, &["huge.yar: ", "larger than"]);
    fs::remove_file(rules.join("huge.yar")).unwrap();

    fs::rename(&rules, rules.with_extension("moved")).unwrap();
    refused(&stage, &["rules: ", "No such file or directory"]);
    fs::rename(rules.with_extension("moved"), &rules).unwrap();

    let output = stage.env.ctl(["reload", "--json"]).expect_code(0);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["reloaded"], &object["rules"]), (&true.into(), &2.into()));
    stage.nobody_noticed();
}

#[test]
fn good_rules_serve_from_then_on() {
    let stage = Stage::new();
    let target = stage.env.file("t/hay", b"hay");
    let before = stage.env.status().generation;
    let _ = stage.scan([&target]).expect_code(0);
    stage.env.write_rule("hay.yar", "rule Hay { strings: $a = \"hay\" condition: $a }");
    let output = stage.env.ctl(["reload"]).expect_code(0);
    assert!(output.text().contains("3 rules"), "{output}");
    assert_ne!(stage.env.status().generation, before);
    let output = stage.scan([&target]).expect_code(1);
    assert_eq!(output.text(), format!("{}: Hay FOUND\n", target.display()));
    // And back: the same rules are the same generation.
    fs::remove_file(stage.env.rules().unwrap().join("hay.yar")).unwrap();
    let _ = stage.env.ctl(["reload"]).expect_code(0);
    assert_eq!(stage.env.status().generation, before);
    let _ = stage.scan([&target]).expect_code(0);
    // Without any file the built-in rule is left.
    fs::remove_file(stage.env.rules().unwrap().join("needle.yar")).unwrap();
    let output = stage.env.ctl(["reload"]).expect_code(0);
    assert!(output.text().contains("1 rules"), "{output}");
    stage.nobody_noticed();
}

#[test]
fn a_reload_in_the_middle_of_a_scan_loses_nothing() {
    let stage = Stage::with(&[("busy.yar", &busy_rule(200_000_000))]);
    let _ = stage.env.file("t/busy", BUSY_MARK);
    let mut all = vec![("t/busy".to_owned(), "OK")];
    for number in 0..2000 {
        let found = number % 50 == 1;
        let name = format!("t/{number}");
        let _ = stage.env.file(&name, if found { NEEDLE } else { b"hay" });
        all.push((name, if found { "Needle FOUND" } else { "OK" }));
    }
    let running = stage.fdscan().arg(stage.path("t")).spawn();
    running.wait_for_output(": ");
    for round in 0..3 {
        stage.env.write_rule("more.yar", &format!("// {round}\n{RULE}").replace("Needle", "Other"));
        let reloaded = stage.env.ctl(["reload"]);
        assert_eq!(reloaded.code, Some(0), "{reloaded}");
    }
    let output = running.finish_within(PATIENCE).expect_code(1);
    let found = stage.outcomes(&output);
    // What was judged after a reload may have matched the new rule too.
    let found = found.into_iter().map(|(path, outcome)| match outcome.as_str() {
        "Other,Needle FOUND" | "Needle,Other FOUND" => (path, "Needle FOUND".to_owned()),
        _ => (path, outcome),
    });
    let all: Vec<(&str, &str)> = all.iter().map(|(name, what)| (name.as_str(), *what)).collect();
    assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), expected(&all));
    let target = [Path::new("t/1")].map(|name| stage.path(name));
    let output = stage.scan(&target).expect_code(1);
    assert!(output.text().contains("Other"), "{output}");
    stage.nobody_noticed();
}
