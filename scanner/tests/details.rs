//! Hashes, places of matches, tags and metadata that `fdscan` tells are those that `sha256sum` and the
//! engine tell when they are called directly.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fdbroker_tests::{Caller, Env, require_tool, skip};
use serde_json::{Value, json};
use yara_x::{MetaValue, Rules, Scanner};

const RULES: &str = r#"
rule Words : text common {
  meta: author = "somebody" score = 7 weight = 0.25 live = true author = "again" raw = "\xff\x00"
  strings:
    $the = "the" nocase
    $hidden = "and" private
    $word = /[A-Z][a-z]{3,90}/
    $ = { 0a 0a }
  condition: any of them
}
rule Small { condition: filesize < 3000 }
private rule Hidden { strings: $a = "a" condition: $a }
rule Long { strings: $line = /[ -~]{65,2000}/ condition: $line and Hidden }
"#;
const FILES: usize = 60;
const PLACES_MAX: usize = 64;
const DATA_MAX: usize = 64;

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["/etc", "/usr/bin", "/usr/share/common-licenses"]
        .into_iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .filter(|path| {
            let about = path.symlink_metadata();
            about.is_ok_and(|about| about.is_file() && about.len() < 1 << 20)
                && fs::File::open(path).is_ok()
                && path.to_str().is_some()
        })
        .collect();
    files.sort();
    let step = files.len().div_ceil(FILES).max(1);
    files.into_iter().step_by(step).collect()
}

/// What `fdscan` tells, by path.
fn told(env: &Env, caller: &Caller, files: &[PathBuf]) -> BTreeMap<PathBuf, Value> {
    let options = ["--json", "--no-summary", "-smg", "--hash"];
    let output = env.fdscan_program(caller).args(options).args(files).output();
    assert_eq!(output.errors(), "");
    let object = |line: &str| -> (PathBuf, Value) {
        let object: Value = serde_json::from_str(line).unwrap();
        (object["path"]["text"].as_str().unwrap().into(), object)
    };
    output.text().lines().map(object).collect()
}

fn text_or_bytes(object: &Value) -> Vec<u8> {
    match (object["text"].as_str(), object["bytes"].as_str()) {
        (Some(text), None) => text.into(),
        (None, Some(base64)) => decoded(base64),
        _ => panic!("{object}"),
    }
}

fn decoded(base64: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.trim_end_matches('=').chars();
    let digits: Vec<u32> =
        digits.map(|digit| u32::try_from(alphabet.find(digit).unwrap()).unwrap()).collect();
    let bytes = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    bytes.collect()
}

/// Rule, pattern, offset, length and beginning of each match, as the engine tells them.
type Place = (String, String, u64, u64, Vec<u8>);

fn places(rules: &Rules, data: &[u8]) -> Vec<Place> {
    let mut scanner = Scanner::new(rules);
    let results = scanner.scan(data).unwrap();
    let mut places = Vec::new();
    for rule in results.matching_rules() {
        for pattern in rule.patterns() {
            for found in pattern.matches() {
                let (range, name) = (found.range(), |name: &str| name.to_owned());
                let begins = found.data()[..range.len().min(DATA_MAX)].to_vec();
                let (offset, length) = (range.start as u64, range.len() as u64);
                let (rule, pattern) = (name(rule.identifier()), name(pattern.identifier()));
                places.push((rule, pattern, offset, length, begins));
            }
        }
    }
    places
}

fn told_places(object: &Value) -> Vec<Place> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let place = |found: &Value| {
        let number = |field: &str| found[field].as_u64().unwrap();
        let data = text_or_bytes(&found["data"]);
        (text(&found["rule"]), text(&found["pattern"]), number("offset"), number("length"), data)
    };
    object["matches"].as_array().into_iter().flatten().map(place).collect()
}

fn start() -> (Env, Caller) {
    let (build, caller) = (Env::build().rule("details.yar", RULES), Caller::own());
    let env =
        if skip::is_root() { build.start_spawned() } else { build.start_rootless(caller.uid) };
    (env, caller)
}

#[test]
fn places_are_those_of_the_engine() {
    let rules = yara_x::compile(RULES).unwrap();
    let files = files();
    assert!(files.len() > 10, "few files here: {}", files.len());
    let (env, caller) = start();
    let told = told(&env, &caller, &files);
    let (mut exact, mut cut) = (0, 0);
    for path in &files {
        let object = &told[path];
        let expected = places(&rules, &fs::read(path).unwrap());
        let places = told_places(object);
        let is_cut = object["more"] == true;
        assert_eq!(is_cut, expected.len() > PLACES_MAX, "{}", path.display());
        assert_eq!(places.len(), expected.len().min(PLACES_MAX), "{}", path.display());
        if is_cut {
            cut += 1;
            assert!(places.iter().all(|place| expected.contains(place)), "{}", path.display());
            // No pattern hides another.
            let patterns = |places: &[Place]| {
                let mut names: Vec<_> =
                    places.iter().map(|place| (place.0.clone(), place.1.clone())).collect();
                names.sort();
                names.dedup();
                names
            };
            assert_eq!(patterns(&places), patterns(&expected), "{}", path.display());
        } else {
            exact += 1;
            assert_eq!(places, expected, "{}", path.display());
        }
    }
    assert!(exact > 3 && cut > 3, "{exact} files with few matches, {cut} with many");
    env.stop();
}

#[test]
fn hashes_are_those_of_sha256sum_whatever_the_verdict() {
    require_tool!("sha256sum");
    let (env, caller) = start();
    let mut files = files();
    files.push(env.file("empty", b""));
    files.push(env.file("large", &vec![0; 9 << 20]));
    let told = told(&env, &caller, &files);
    let output = Command::new("sha256sum").args(&files).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), files.len());
    for line in lines.lines() {
        let (hash, path) = line.split_once("  ").unwrap();
        assert_eq!(told[Path::new(path)]["sha256"], hash, "{path}");
    }
    let is = |outcome: &str| told.values().any(|object| object["outcome"] == outcome);
    assert!(is("clean") && is("match"));
    env.stop();
}

#[test]
fn a_file_that_was_not_read_whole_has_no_hash() {
    let (env, caller) = start();
    let large = env.file("large", &[b'x'; 5000]);
    let output = env.fdscan_program(&caller).args(["--json", "--no-summary", "--hash"]);
    let output = output.args(["--max-filesize", "4K"]).arg(large).output().expect_code(2);
    let object: Value = serde_json::from_str(output.text().trim()).unwrap();
    assert!(object["sha256"].is_null() && object.get("sha256").is_some(), "{object}");
    env.stop();
}

#[test]
fn tags_and_metadata_are_those_of_the_rules() {
    let rules = yara_x::compile(RULES).unwrap();
    let (env, caller) = start();
    let path = env.file("the", b"the file\n\n");
    let told = told(&env, &caller, std::slice::from_ref(&path));
    let facts = told[&path]["facts"].as_array().unwrap();
    let named: Vec<&str> = facts.iter().map(|it| it["rule"].as_str().unwrap()).collect();
    assert_eq!(named, ["Words", "Small"]);
    let words = rules.iter().find(|rule| rule.identifier() == "Words").unwrap();
    let tags: Vec<&str> = words.tags().map(|tag| tag.identifier()).collect();
    assert_eq!(facts[0]["tags"], json!(tags));
    let expected: Vec<Value> = words
        .metadata()
        .map(|(key, value)| match value {
            MetaValue::Bytes(_) => json!({ "key": key, "value": { "bytes": "/wA=" } }),
            other => json!({ "key": key, "value": serde_json::to_value(other).unwrap() }),
        })
        .collect();
    assert_eq!(facts[0]["metadata"], Value::Array(expected));
    assert_eq!(facts[1], json!({ "rule": "Small", "tags": [], "metadata": [], "more": false }));
    env.stop();
}

#[test]
fn what_is_not_asked_for_is_not_told() {
    let (env, caller) = start();
    let path = env.file("the", b"the file\n\n");
    let output = env.fdscan_program(&caller).args(["--json", "--no-summary"]).arg(path).output();
    for field in ["sha256", "facts", "matches", "more", "$the"] {
        assert!(!output.text().contains(field), "{output}");
    }
    env.stop();
}
