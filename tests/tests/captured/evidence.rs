//! Workers that lie about what was wanted besides a verdict.

use std::collections::BTreeMap;

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Output, require_root};
use serde_json::Value;

use crate::stage::{Stage, each};

const ASKED: [&str; 3] = ["-s", "-m", "--hash"];

/// One object for each file, by its outcome.
fn objects(stage: &Stage) -> BTreeMap<String, Vec<Value>> {
    let program = stage.env.fdscan_program(&Caller::user(2000)).args(ASKED);
    let output = program.args(["--json", "--no-summary"]).arg(stage.tree()).output();
    let mut objects = BTreeMap::<String, Vec<Value>>::new();
    for line in output.text().lines() {
        let object: Value = serde_json::from_str(line).expect("JSON");
        let outcome = object["outcome"].as_str().expect("an outcome").to_owned();
        objects.entry(outcome).or_default().push(object);
    }
    objects
}

#[test]
fn an_honest_double_is_believed_in_hash_and_places() {
    require_root!();
    each(&["honest"], |stage| {
        let captured = stage.captured();
        let objects = objects(&stage);
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["clean", "match"]);
        for object in objects.values().flatten() {
            assert_eq!(object["sha256"], "07".repeat(32), "{object}");
        }
        for object in &objects["match"] {
            let found = &object["matches"][0];
            assert_eq!((&found["pattern"], &found["offset"]), (&"$eicar".into(), &0.into()));
            let data = std::str::from_utf8(&EICAR[..64]).unwrap();
            assert_eq!((&found["length"], &found["data"]["text"]), (&68.into(), &data.into()));
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn a_worker_that_tells_absurd_evidence_is_believed_in_nothing() {
    require_root!();
    let modes = [
        "worker:place-beyond",
        "worker:place-overflows",
        "worker:place-endless",
        "worker:no-such-pattern",
        "worker:place-of-another-rule",
        "worker:place-without-data",
        "worker:no-hash",
        "worker:evidence-not-told",
    ];
    each(&modes, |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&ASKED)) {
            assert_nothing_false(&stage, &output);
        }
        stage.assert_recovers(captured);
    });
}

/// Nothing that is absurd was told: of EICAR nothing but errors.
fn assert_nothing_false(stage: &Stage, output: &Output) {
    let text = output.text();
    assert!(!text.contains(" FOUND") && !text.contains("$"), "{output}{}", stage.env.log());
    assert!(text.contains(": made the scanner misbehave ERROR"), "{output}");
    assert_eq!(output.code, Some(2), "{output}");
}

#[test]
fn evidence_that_nobody_asked_for_makes_no_file_clean() {
    require_root!();
    each(&["worker:evidence-unasked"], |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_errors(&output);
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn a_table_that_does_not_say_or_is_malformed_costs_details_and_no_verdict() {
    require_root!();
    each(&["template:no-entries", "template:malformed-entries"], |stage| {
        let captured = stage.captured();
        let objects = objects(&stage);
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["clean", "match"]);
        for object in &objects["match"] {
            assert_eq!(object["matches"], Value::Array(Vec::new()), "{object}");
            assert_eq!(object["more"], true, "{object}");
            assert_eq!(object["sha256"], "07".repeat(32), "{object}");
        }
        stage.assert_recovers(captured);
    });
}
