//! What `fdscan` prints and exits with, whatever the opener says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::fake::{Dir, Fake, fdscan, found, report, status, stderr, stdout};
use fdbroker_common::client_link::{OpenerToClient, Refusal};
use fdbroker_common::outcome::{Change, Failure, Limit, Outcome, SkipReason};
use serde_json::{Value, json};

fn mixed() -> Fake {
    Fake::deciding(|target, _| {
        let too_large = Outcome::Incomplete { limit: Limit::FileSize, read: 0, total: 10 };
        vec![
            report(target, b"clean", Outcome::Clean),
            report(target, b"bad", found(&["A", "B"])),
            report(target, b"large", too_large),
            report(target, b"log", Outcome::Unstable(Change::Modified)),
            report(target, b"secret", Outcome::Denied),
            report(target, b"fifo", Outcome::Skipped(SkipReason::Fifo)),
            report(target, b"killer", Outcome::Error(Failure::WorkerCrashed(11))),
        ]
    })
}

fn one(outcome: Outcome) -> Fake {
    Fake::deciding(move |target, _| vec![report(target, b"", outcome.clone())])
}

/// The JSON objects of a run.
fn objects(output: &std::process::Output) -> Vec<Value> {
    let lines = stdout(output).lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_file_has_its_line_and_the_summary_counts_them() {
    let output = mixed().scan(&["/tmp/"]);
    let text = stdout(&output);
    let (lines, summary) = text.split_once("\n\n").unwrap();
    assert_eq!(
        lines,
        "/tmp/clean: OK\n\
         /tmp/bad: A,B FOUND\n\
         /tmp/large: size limit, 0 of 10 bytes read INCOMPLETE\n\
         /tmp/log: changed during the scan UNSTABLE\n\
         /tmp/secret: permission denied DENIED\n\
         /tmp/fifo: named pipe SKIPPED\n\
         /tmp/killer: crashed the scanner (SIGSEGV) ERROR"
    );
    for line in ["Files:      6\n", "Matches:    1\n", "Skipped:    1\n", "Rules:      3 (abab"] {
        assert!(summary.contains(line), "{summary}");
    }
    assert_eq!((status(&output), stderr(&output)), (Some(1), ""));
}

#[test]
fn with_i_only_matches_are_results_and_what_was_not_scanned_is_told_elsewhere() {
    let output = mixed().scan(&["-i", "--no-summary", "/tmp"]);
    assert_eq!(stdout(&output), "/tmp/bad: A,B FOUND\n");
    assert_eq!(
        stderr(&output),
        "/tmp/large: size limit, 0 of 10 bytes read INCOMPLETE\n\
         /tmp/log: changed during the scan UNSTABLE\n\
         /tmp/secret: permission denied DENIED\n\
         /tmp/killer: crashed the scanner (SIGSEGV) ERROR\n"
    );
}

#[test]
fn the_exit_status_tells_match_before_unscanned_before_clean() {
    for (outcome, expected) in [
        (Outcome::Clean, 0),
        (Outcome::Skipped(SkipReason::Device), 0),
        (found(&["A"]), 1),
        (Outcome::Denied, 2),
        (Outcome::Unstable(Change::Moved), 2),
        (Outcome::Error(Failure::Busy), 2),
    ] {
        let output = one(outcome.clone()).scan(&["/tmp"]);
        assert_eq!(status(&output), Some(expected), "{outcome:?}");
        let output = one(outcome.clone()).scan(&["-i", "/tmp"]);
        assert_eq!(status(&output), Some(expected), "-i {outcome:?}");
    }
}

#[test]
fn json_is_one_object_a_file_and_a_summary() {
    let output = mixed().scan(&["--json", "/tmp"]);
    let objects = objects(&output);
    assert_eq!(objects.len(), 8);
    assert_eq!(
        objects[1],
        json!({"version": 1, "path": {"text": "/tmp/bad"}, "outcome": "match", "size": 10,
               "rules": ["A", "B"]})
    );
    assert_eq!(
        objects[2],
        json!({"version": 1, "path": {"text": "/tmp/large"}, "outcome": "incomplete", "size": 10,
               "reason": "size limit, 0 of 10 bytes read", "read": 0, "total": 10})
    );
    let mut summary = objects[7]["summary"].clone();
    assert!(summary["seconds"].take().as_f64().is_some());
    assert_eq!(
        summary,
        json!({"version": 1, "files": 6, "clean": 1, "matched": 1, "incomplete": 1, "unstable": 1,
               "denied": 1, "skipped": 1, "errors": 1, "bytes": 70, "seconds": null,
               "generation": "ab".repeat(16), "rules": 3, "exit_code": 1})
    );
    let only = mixed().scan(&["--json", "-i", "--no-summary", "/tmp"]);
    let outcomes = self::objects(&only);
    let outcomes: Vec<&str> = outcomes.iter().filter_map(|one| one["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["match", "incomplete", "unstable", "denied", "error"]);
    assert_eq!(stderr(&only), "", "a program reads one stream");
}

#[test]
fn names_stay_on_their_line_in_text_and_are_exact_in_json() {
    let odd = |name: &'static [u8]| {
        Fake::deciding(move |target, _| vec![report(target, name, Outcome::Clean)])
    };
    let text = odd(b"a\nb: OK\x1b").scan(&["--no-summary", "/tmp"]);
    assert_eq!(stdout(&text), "/tmp/a\\nb: OK\\x1b: OK\n");
    let newline = odd(b"a\nb").scan(&["--json", "--no-summary", "/tmp"]);
    assert_eq!(objects(&newline)[0]["path"], json!({"text": "/tmp/a\nb"}));
    let bytes = odd(b"\xff").scan(&["--json", "--no-summary", "/tmp"]);
    assert_eq!(objects(&bytes)[0]["path"], json!({"bytes": "L3RtcC//"}));
}

#[test]
fn a_name_that_is_not_utf8_can_be_given_and_reaches_the_opener_as_it_is() {
    let files = Dir::new();
    let path = files.file(OsStr::from_bytes(b"\xfe"), b"");
    let name = path.clone().into_os_string();
    let fake = Fake::deciding(move |target, _| {
        assert_eq!(target.name.as_slice(), name.as_bytes());
        vec![report(target, b"", Outcome::Clean)]
    });
    let output = fdscan().arg("--runtime-dir").arg(&fake.dir.0).arg(&path).output().unwrap();
    assert!(stdout(&output).contains("\\xfe: OK\n"), "{output:?}");
}

#[test]
fn a_path_that_cannot_be_opened_is_told_and_the_others_go_on() {
    let output = one(Outcome::Clean).scan(&["/nonexistent", "/tmp"]);
    let text = stdout(&output);
    assert!(text.starts_with("/nonexistent: No such file or directory ERROR\n"), "{text}");
    assert!(text.contains("/tmp: OK\n") && text.contains("\nErrors:     1\n"), "{text}");
    assert_eq!(status(&output), Some(2));
    let too_long = "x".repeat(5000);
    let output = one(Outcome::Clean).scan(&["--no-summary", &too_long]);
    assert_eq!(stdout(&output), format!("{too_long}: File name too long ERROR\n"));
}

#[test]
fn a_refusal_is_told_and_is_no_result() {
    let output = Fake::start(|mut opener| {
        let refused = OpenerToClient::Refused(Refusal::NotAllowed);
        opener.send(&refused, &[]).unwrap();
    })
    .scan(&["/tmp"]);
    assert_eq!(stdout(&output), "");
    assert_eq!(stderr(&output), "fdscan: this broker does not serve this user\n");
    assert_eq!(status(&output), Some(2));
}

#[test]
fn a_reader_that_leaves_ends_the_scan_quietly_and_not_as_clean() {
    let fake = one(Outcome::Clean);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        fdscan().arg("--runtime-dir").arg(&fake.dir.0).arg("/tmp").stdout(writer).output().unwrap();
    assert_eq!((stderr(&output), status(&output)), ("", Some(2)));
}
