//! `fdscan` when whoever serves it goes away in the middle: it goes on with the next one, tells each
//! file once, and is never clean if it cannot.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::fake::{
    Dir, Fake, Opener, Script, accepted, fdscan, found, opened, piped, report, serve, status,
    stderr, stdout,
};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Refusal, Report, Target};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use serde_json::{Value, json};

const WENT: &str = "fdscan: the broker went away; waiting for it to come back\n";
const CLOSED: &str = "fdscan: the broker closed the connection before the scan was finished\n";

/// Tells this much of each target, then closes.
fn leaves_after(decide: impl Fn(&Target) -> Vec<Report> + Send + 'static) -> Script {
    Box::new(move |mut opener: Opener| {
        while let Ok((message, _)) = opener.receive() {
            match message {
                ClientToOpener::Start(_) => opener.send(&accepted(), &[]).unwrap(),
                ClientToOpener::Targets(targets) => {
                    for reports in targets.iter().map(&decide).filter(|told| !told.is_empty()) {
                        opener.send(&OpenerToClient::Reports(reports), &[]).unwrap();
                    }
                }
                ClientToOpener::Waiting | ClientToOpener::PathTargets(_) => {}
                ClientToOpener::End => return,
            }
        }
    })
}

/// Serves to the end.
fn serves(decide: impl Fn(&Target) -> Vec<Report> + Send + 'static) -> Script {
    Box::new(move |opener| serve(opener, |target, _| decide(target)))
}

fn refuses(refusal: Refusal) -> Script {
    Box::new(move |mut opener: Opener| {
        opener.receive().unwrap();
        opener.send(&OpenerToClient::Refused(refusal), &[]).unwrap();
    })
}

/// Some files beneath a directory, from one number to another; every fifth one matches.
fn files(target: &Target, from: usize, to: usize) -> Vec<Report> {
    let outcome = |nth| if nth % 5 == 0 { found(&["A"]) } else { Outcome::Clean };
    (from..to).map(|nth| report(target, format!("{nth}").as_bytes(), outcome(nth))).collect()
}

fn lines(output: &std::process::Output) -> Vec<String> {
    let mut lines: Vec<String> = stdout(output).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn summary(output: &std::process::Output) -> Value {
    let line = stdout(output).lines().last().unwrap();
    serde_json::from_str::<Value>(line).unwrap()["summary"].clone()
}

#[test]
fn a_scan_that_is_interrupted_tells_each_file_once_and_counts_it_once() {
    let whole = |target: &Target| files(target, 0, 20);
    let undisturbed = Fake::playing(vec![serves(whole)]).scan(&["--json", "/tmp"]);
    for cuts in [&[0][..], &[1], &[7], &[20], &[3, 9], &[15, 2], &[0, 5, 0, 20]] {
        let mut scripts: Vec<Script> =
            cuts.iter().map(|cut| leaves_after(|target| files(target, 0, *cut))).collect();
        scripts.push(serves(whole));
        let output = Fake::playing(scripts).scan(&["--json", "/tmp"]);
        assert_eq!(status(&output), Some(1), "{output:?}");
        let told = |output| -> Vec<String> {
            let lines = lines(output).into_iter();
            lines.filter(|line| !line.contains("summary")).collect()
        };
        assert_eq!(told(&output), told(&undisturbed), "{cuts:?}");
        for field in ["files", "clean", "matched", "errors", "bytes", "exit_code", "error"] {
            assert_eq!(summary(&output)[field], summary(&undisturbed)[field], "{cuts:?} {field}");
        }
        let notes = format!("{WENT}fdscan: resumed\n").repeat(cuts.len());
        assert_eq!(stderr(&output), notes, "{cuts:?}");
    }
}

#[test]
fn clean_files_that_are_only_counted_are_counted_once() {
    let some = |target: &Target| {
        let mut told = files(target, 0, 20);
        told.retain(|report| report.outcome != Outcome::Clean);
        told.truncate(2);
        told
    };
    let whole = |target: &Target| files(target, 0, 20);
    let output = Fake::playing(vec![leaves_after(some), serves(whole)]).scan(&["-i", "/tmp"]);
    assert!(stdout(&output).contains("Clean:      16\nMatches:    4\n"), "{output:?}");
    assert_eq!(stdout(&output).matches("FOUND").count(), 4, "{output:?}");
}

#[test]
fn files_that_were_judged_are_not_handed_over_again() {
    let dir = Dir::new();
    let paths: Vec<String> =
        (0..100).map(|nth| dir.file(format!("{nth}"), b"x").to_str().unwrap().to_owned()).collect();
    let half = |target: &Target| {
        if target.id < 50 { vec![report(target, b"", Outcome::Clean)] } else { Vec::new() }
    };
    let rest = |target: &Target| {
        assert!(target.id >= 50, "{}", target.id);
        vec![report(target, b"", Outcome::Clean)]
    };
    let arguments: Vec<&str> =
        ["--json"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let output = Fake::playing(vec![leaves_after(half), serves(rest)]).scan(&arguments);
    assert_eq!(status(&output), Some(0), "{output:?}");
    assert_eq!(stdout(&output).lines().count(), 101);
    assert_eq!(
        (&summary(&output)["clean"], &summary(&output)["bytes"]),
        (&json!(100), &json!(1000))
    );
}

#[test]
fn standard_input_is_kept_and_scanned_again() {
    let content = |descriptor: &std::os::fd::OwnedFd| {
        let mut text = String::new();
        let mut file = fs::File::from(descriptor.try_clone().unwrap());
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        text
    };
    let dir = Dir::new();
    let file = dir.file("file", b"from a file");
    for (stdin, expected) in
        [(piped(b"from a pipe"), "from a pipe"), (opened(&file), "from a file")]
    {
        let looks: Script = Box::new(move |opener| {
            serve(opener, |target, descriptor| {
                assert_eq!(content(descriptor), expected);
                vec![report(target, b"", Outcome::Clean)]
            });
        });
        let scripts = vec![leaves_after(|_| Vec::new()), looks];
        let output = Fake::playing(scripts).scan_with(&["--no-summary", "-"], stdin);
        assert_eq!((stdout(&output), status(&output)), ("-: OK\n", Some(0)), "{output:?}");
    }
}

#[test]
fn a_target_that_is_gone_when_the_scan_goes_on_is_an_error_of_its_own() {
    let dir = Dir::new();
    let [stays, goes] = ["stays", "goes"].map(|name| dir.file(name, b"x"));
    let gone = goes.clone();
    let removes: Script = Box::new(move |mut opener: Opener| {
        while !matches!(opener.receive().unwrap().0, ClientToOpener::Targets(_)) {}
        opener.send(&accepted(), &[]).unwrap();
        fs::remove_file(gone).unwrap();
    });
    let clean = |target: &Target| vec![report(target, b"", Outcome::Clean)];
    let arguments = ["--no-summary", stays.to_str().unwrap(), goes.to_str().unwrap()];
    let output = Fake::playing(vec![removes, serves(clean)]).scan(&arguments);
    let text = stdout(&output);
    assert!(text.contains("/stays: OK\n"), "{text}");
    assert!(text.contains("/goes: No such file or directory ERROR\n"), "{text}");
    assert_eq!((text.lines().count(), status(&output)), (2, Some(2)));
}

#[test]
fn a_scan_that_nobody_goes_on_with_is_never_clean() {
    let leaves = leaves_after(|target| vec![report(target, b"", Outcome::Clean)]);
    let begun = Instant::now();
    let output = Fake::playing(vec![leaves]).scan(&["--timeout", "1", "/tmp"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(stdout(&output), "/tmp: OK\n");
    assert_eq!(stderr(&output), [WENT, CLOSED].concat());
    assert_eq!(status(&output), Some(2));
}

#[test]
fn a_scan_that_nobody_goes_on_with_keeps_its_matches() {
    let leaves = leaves_after(|target| vec![report(target, b"", found(&["A"]))]);
    let output = Fake::playing(vec![leaves]).scan(&["--json", "--timeout", "1", "/tmp"]);
    assert_eq!(status(&output), Some(1));
    assert_eq!(summary(&output)["matched"], json!(1));
    assert!(summary(&output)["error"].as_str().unwrap().contains("closed the connection"));
}

#[test]
fn a_scan_that_gets_no_further_is_given_up() {
    let scripts = (0..5).map(|_| leaves_after(|_| Vec::new())).collect();
    let output = Fake::playing(scripts).scan(&["--timeout", "1", "/tmp"]);
    assert_eq!(status(&output), Some(2));
    assert!(stderr(&output).ends_with(CLOSED), "{output:?}");
    assert_eq!(stderr(&output).matches("resumed").count(), 4, "{output:?}");
}

#[test]
fn a_refusal_for_want_of_a_scanner_is_waited_out_in_the_middle_of_a_scan_only() {
    let clean = |target: &Target| vec![report(target, b"", Outcome::Clean)];
    let loses_scanner: Script = Box::new(|mut opener: Opener| {
        opener.receive().unwrap();
        opener.send(&accepted(), &[]).unwrap();
        opener.receive().unwrap();
        opener.send(&OpenerToClient::Refused(Refusal::NoScanner), &[]).unwrap();
    });
    let scripts = vec![
        loses_scanner,
        refuses(Refusal::NoScanner),
        refuses(Refusal::TooManyConnections),
        serves(clean),
    ];
    let output = Fake::playing(scripts).scan(&["--no-summary", "/tmp"]);
    let notes = "fdscan: the scanner went away; waiting for it to come back\nfdscan: resumed\n";
    assert_eq!((stdout(&output), stderr(&output)), ("/tmp: OK\n", notes));

    let output = Fake::playing(vec![refuses(Refusal::NoScanner)]).scan(&["/tmp"]);
    assert!(stderr(&output).starts_with("fdscan: the broker has no scanner;"), "{output:?}");
    assert_eq!((stderr(&output).lines().count(), status(&output)), (1, Some(2)));
}

#[test]
fn a_refusal_that_time_does_not_mend_ends_the_scan_at_once() {
    let scripts = vec![leaves_after(|_| Vec::new()), refuses(Refusal::NotAllowed)];
    let output = Fake::playing(scripts).scan(&["/tmp"]);
    let refused = "fdscan: this broker does not serve this user\n";
    assert_eq!(stderr(&output), [WENT, refused].concat());
    assert_eq!(status(&output), Some(2));
}

#[test]
fn an_opener_that_breaks_the_protocol_is_not_asked_again() {
    let lies: Script = Box::new(|mut opener: Opener| {
        while !matches!(opener.receive().unwrap().0, ClientToOpener::End) {}
        opener.send(&accepted(), &[]).unwrap();
        let done = OpenerToClient::Done(Totals { clean: 1, ..Totals::default() });
        opener.send(&done, &[]).unwrap();
    });
    let output = Fake::playing(vec![lies]).scan(&["/tmp"]);
    assert!(stderr(&output).contains("does not keep to the protocol"), "{output:?}");
    assert_eq!((stderr(&output).lines().count(), status(&output)), (1, Some(2)));
}

#[test]
fn a_socket_that_comes_back_later_is_found() {
    let dir = Dir::new();
    let socket = dir.0.join("client.sock");
    // Somebody who listens to nothing, as a broker that was killed leaves it.
    drop(UnixDatagram::bind(&socket).unwrap());
    let output = fdscan().arg("--runtime-dir").arg(&dir.0).arg("/tmp").output().unwrap();
    // A scan that never began is not waited for.
    assert!(stderr(&output).contains("nobody listens"), "{output:?}");
}
