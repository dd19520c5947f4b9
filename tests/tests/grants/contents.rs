//! Contents of files that are scanned by a grant: nobody is told any, whatever they ask for.

use std::path::{Path, PathBuf};

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, require_root};
use serde_json::Value;

use crate::stage::{GRANTED, Stage};

const POLICY: &str = "[[grant]]\nusers = [2000, 0]\ntrees = [\"DIR/tree\"]\n";
const ASKED: [&str; 4] = ["-s", "-m", "-g", "--hash"];

fn asked(more: &[&str], path: &Path) -> Vec<PathBuf> {
    let options = ASKED.iter().chain(more).map(PathBuf::from);
    options.chain([path.to_owned()]).collect()
}

fn object(text: &str) -> Value {
    serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
}

#[test]
fn a_grant_tells_places_of_matches_and_neither_what_stands_there_nor_a_hash() {
    require_root!();
    let stage = Stage::with(POLICY);
    let found = stage.secret("tree/found", EICAR);
    let clean = stage.secret("tree/clean", b"some hay");
    // Root could read it without a grant, and asks by one.
    for caller in [Caller::user(GRANTED), Caller::root()] {
        let output = stage.granted(&caller, &asked(&["--json"], &found)).expect_code(1);
        let told = object(&output.text());
        assert_eq!(told["outcome"], "match", "{output}");
        assert_eq!(told["sha256"], Value::Null, "{output}");
        let places = told["matches"].as_array().expect("places");
        assert!(!places.is_empty(), "{output}");
        for place in places {
            assert_eq!((&place["offset"], &place["length"]), (&0.into(), &68.into()), "{output}");
            assert_eq!(place.get("data").unwrap_or(&Value::Null), &Value::Null, "{output}");
        }
        let output = stage.granted(&caller, &asked(&["--json"], &clean)).expect_code(0);
        assert_eq!(object(&output.text())["sha256"], Value::Null, "{output}");

        let output = stage.granted(&caller, &asked(&[], &found)).expect_code(1);
        let text = output.text();
        assert!(text.contains("0x0:68:$"), "{output}");
        assert!(!text.contains("X5O!") && !text.contains("sha256 "), "{output}");
    }
    // The same file and questions, of who may read it.
    let output = stage.fdscan(&Caller::root(), &asked(&["--json"], &found)).expect_code(1);
    let told = object(&output.text());
    assert!(told["sha256"].is_string(), "{output}");
    let data = told["matches"][0]["data"]["text"].as_str().expect("data");
    assert!(data.starts_with("X5O!"), "{output}");
}
