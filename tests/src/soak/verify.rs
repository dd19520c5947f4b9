//! Compares what a scan has told with what it had to tell.

use std::collections::BTreeMap;

use super::faults::Tally;
use super::scans::{Form, Scan};
use super::tree::Expected;
use crate::Output;

/// Notes that are no complaints.
const NOTES: [&str; 3] = [
    "fdscan: the broker went away; waiting for it to come back",
    "fdscan: the scanner went away; waiting for it to come back",
    "fdscan: resumed",
];

/// Files and their outcomes as text, in the order in which they were told.
type Told = Vec<(String, String)>;

/// Whether a scan was begun just when there was no broker, and said so.
#[must_use]
pub fn met_no_broker(scan: &Scan, output: &Output, now: &Tally) -> bool {
    let reasons = ["fdscan: no broker at ", "fdscan: nobody listens at "];
    let errors = output.errors();
    scan.before.lost_broker(now)
        && output.stdout.is_empty()
        && output.code == Some(2)
        && errors.lines().count() == 1
        && reasons.iter().any(|reason| errors.starts_with(reason))
}

/// Checks a scan that has ended by itself; tells how many files it told.
///
/// # Errors
/// What is wrong.
pub fn verify(scan: &Scan, output: &Output, now: &Tally) -> Result<usize, String> {
    let complaint = |reason: String| format!("{}: {reason}\n{output}", scan.what);
    let (told, summary) = read(scan, output).map_err(complaint)?;
    let mut outcomes: BTreeMap<&str, &str> = BTreeMap::new();
    let interrupted = output.errors().contains("fdscan: resumed");
    for (path, outcome) in &told {
        let path = path.strip_prefix(&format!("{}/", scan.base.display())).unwrap_or(path);
        if let Some(before) = outcomes.insert(path, outcome) {
            // What was an error because of a fault, and turned out to match after an interruption.
            if !(interrupted && outcome.ends_with(" FOUND") && before.ends_with(" ERROR")) {
                return Err(complaint(format!("{path} was told twice")));
            }
        }
    }
    let blamed = check_outcomes(scan, &outcomes).map_err(complaint)?;
    let is_guilty = |expected: &Expected| match expected {
        Expected::This(outcome) => outcome.starts_with("not finished"),
        Expected::Fault => true,
        Expected::Harmless => false,
    };
    let beside_guilty = scan.table.iter().flat_map(|table| table.values()).any(is_guilty);
    if blamed > scan.before.blameable(now, beside_guilty) {
        return Err(complaint(format!("{blamed} files are blamed for faults of others")));
    }
    check_counts(scan, &outcomes, &summary, output).map_err(complaint)?;
    Ok(outcomes.len())
}

/// Compares with the table. Tells how many files were given up that nothing was aimed at.
fn check_outcomes(scan: &Scan, outcomes: &BTreeMap<&str, &str>) -> Result<u64, String> {
    let mut blamed = 0;
    let Some(table) = &scan.table else {
        for (path, outcome) in outcomes {
            check_one(path, outcome, &Expected::Harmless, &mut blamed)?;
        }
        return Ok(blamed);
    };
    for (path, expected) in table {
        let omitted = Expected::This("OK".to_owned()) == *expected
            || matches!(expected, Expected::This(outcome) if outcome.ends_with(" SKIPPED"));
        match outcomes.get(path.as_str()) {
            Some(outcome) => check_one(path, outcome, expected, &mut blamed)?,
            None if scan.form == Form::Infected && omitted => {}
            None => return Err(format!("{path} was not told")),
        }
    }
    match outcomes.keys().find(|path| !table.contains_key(**path)) {
        Some(path) => Err(format!("{path} is not there, but was told")),
        None => Ok(blamed),
    }
}

fn check_one(
    path: &str,
    outcome: &str,
    expected: &Expected,
    blamed: &mut u64,
) -> Result<(), String> {
    let is_right = match expected {
        Expected::This(this) => outcome == this,
        Expected::Fault => outcome.ends_with(" ERROR") || outcome == "OK",
        Expected::Harmless => !outcome.ends_with(" FOUND") && !outcome.starts_with("crashed"),
    };
    let given_up =
        outcome.starts_with("crashed the scanner") || outcome.starts_with("not finished");
    match (is_right, given_up) {
        (true, _) => Ok(()),
        (false, true) => {
            *blamed += 1;
            Ok(())
        }
        (false, false) => Err(format!("{path}: {outcome}, but expected was {expected:?}")),
    }
}

/// The summary and the exit status must be those of what was told.
fn check_counts(
    scan: &Scan,
    outcomes: &BTreeMap<&str, &str>,
    summary: &BTreeMap<String, u64>,
    output: &Output,
) -> Result<(), String> {
    let count =
        |word: &str| outcomes.values().filter(|outcome| outcome.ends_with(word)).count() as u64;
    let [found, skipped] = [" FOUND", " SKIPPED"].map(count);
    let clean = outcomes.values().filter(|outcome| **outcome == "OK").count() as u64;
    let others = outcomes.len() as u64 - found - skipped - clean;
    let told = |field: &str| summary.get(field).copied().unwrap_or(0);
    let not_scanned: u64 = ["incomplete", "unstable", "denied", "errors"].map(told).iter().sum();
    let clean_right = match (scan.form, &scan.table) {
        (Form::Infected, Some(table)) => {
            let is_clean = |expected: &&Expected| **expected == Expected::This("OK".to_owned());
            let expected = table.values().filter(is_clean).count() as u64;
            // Those that were given up for a fault are among the others.
            told("clean") <= expected && expected - told("clean") <= others
        }
        (Form::Infected, None) => true,
        _ => told("clean") == clean && told("skipped") == skipped,
    };
    if !clean_right || told("matched") != found || not_scanned != others {
        return Err(format!("the summary does not fit: {summary:?}"));
    }
    let code = if found > 0 {
        1
    } else if others > 0 {
        2
    } else {
        0
    };
    if output.code == Some(code) { Ok(()) } else { Err(format!("exit status is not {code}")) }
}

/// What was told, and the counts of the summary by their names in JSON.
fn read(scan: &Scan, output: &Output) -> Result<(Told, BTreeMap<String, u64>), String> {
    let text = output.text();
    let mut told = Told::new();
    for line in output.errors().lines().filter(|line| !NOTES.contains(line)) {
        if line.starts_with("fdscan: ") || scan.form != Form::Infected {
            return Err(format!("it complains: {line}"));
        }
        told.push(read_line(line)?);
    }
    if scan.form == Form::Json {
        return read_objects(&text);
    }
    let (lines, summary) = text.rsplit_once("\n\n").unwrap_or(("", text.trim_start()));
    for line in lines.lines().filter(|line| !line.is_empty()) {
        told.push(read_line(line)?);
    }
    let names = [
        ("Clean:", "clean"),
        ("Matches:", "matched"),
        ("Incomplete:", "incomplete"),
        ("Unstable:", "unstable"),
        ("Denied:", "denied"),
        ("Errors:", "errors"),
        ("Skipped:", "skipped"),
    ];
    let counts = summary.lines().filter_map(|line| {
        let (word, count) = line.split_once(char::is_whitespace)?;
        let (_, name) = names.iter().find(|(of_text, _)| *of_text == word)?;
        Some(((*name).to_owned(), count.trim().parse().ok()?))
    });
    let counts: BTreeMap<String, u64> = counts.collect();
    if counts.contains_key("clean") { Ok((told, counts)) } else { Err("no summary".to_owned()) }
}

fn read_line(line: &str) -> Result<(String, String), String> {
    let (path, outcome) = line.rsplit_once(": ").ok_or(format!("no outcome: {line}"))?;
    Ok((path.to_owned(), outcome.to_owned()))
}

fn read_objects(text: &str) -> Result<(Told, BTreeMap<String, u64>), String> {
    let mut told = Told::new();
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let object: serde_json::Value =
            serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        if let Some(summary) = object["summary"].as_object() {
            let numbers = summary.iter().filter_map(|(name, n)| Some((name.clone(), n.as_u64()?)));
            counts = numbers.collect();
            continue;
        }
        let path = object["path"]["text"].as_str().ok_or(format!("no path: {line}"))?;
        let outcome = match (object["outcome"].as_str(), object["rules"].as_array()) {
            (Some("clean"), _) => "OK".to_owned(),
            (Some("match"), Some(rules)) => {
                let rules: Vec<&str> = rules.iter().filter_map(serde_json::Value::as_str).collect();
                format!("{} FOUND", rules.join(","))
            }
            (Some(word), _) => {
                let reason = object["reason"].as_str().unwrap_or_default();
                format!("{reason} {}", word.to_uppercase())
            }
            _ => return Err(format!("no outcome: {line}")),
        };
        told.push((path.to_owned(), outcome));
    }
    if counts.is_empty() { Err("no summary".to_owned()) } else { Ok((told, counts)) }
}
