//! The end by Ctrl-C, by SIGTERM, and by a reader who has seen enough.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_tests::files::EICAR;
use fdbroker_tests::terminal::On;
use fdbroker_tests::{Feed as Plain, Terminal, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::{Feed, Stage};

const CTRL_C: &str = "\x03";

#[test]
fn ctrl_c_ends_a_scan_with_the_counts_so_far() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let clean = stage.env.file("t/clean", b"hay");
    let mut feed = stage.feed(On::Both, ["--color=never"]);
    feed.give(&found);
    feed.progress(&clean, 2);
    feed.terminal.press(CTRL_C);
    let end = feed.terminal.finish();
    assert_eq!(end, (None, Some(Signal::SIGINT)), "{:?}", feed.terminal.written());
    let lines = feed.terminal.screen().text();
    let has = |line: &str| lines.iter().any(|it| it == line);
    for line in [
        "fdscan: interrupted by SIGINT; not everything was scanned",
        "Interrupted before the end; until then, at least:",
        "Files:      2",
        "Clean:      1",
        "Matches:    1",
    ] {
        assert!(lines.iter().any(|it| it.trim_start_matches("^C") == line), "{line}: {lines:#?}");
    }
    assert!(has(&format!("{}: EICAR_Test_File FOUND", found.display())), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("went away")), "{lines:#?}");
}

#[test]
fn counts_of_files_that_are_not_told_are_part_of_it() {
    let stage = Stage::new();
    let clean = stage.env.file("t/clean", b"hay");
    let mut feed = stage.feed(On::Errors, ["-i"]);
    feed.progress(&clean, 1);
    feed.terminal.press(CTRL_C);
    assert_eq!(feed.terminal.finish().1, Some(Signal::SIGINT));
    let output = feed.terminal.output();
    assert!(output.contains("until then, at least:\nFiles:      1\nClean:      1\n"), "{output}");
}

#[test]
fn sigterm_does_the_same_and_programs_are_told_so() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let fdscan = stage.env.fdscan_program(&stage.caller).arg("--json");
    let mut feed = Feed::start(|fdscan| Terminal::start(fdscan, On::Errors, 80), fdscan);
    feed.give(&found);
    feed.terminal.running().wait_for_output("\"outcome\":\"match\"");
    feed.terminal.running().signal(Signal::SIGTERM);
    assert_eq!(feed.terminal.finish().1, Some(Signal::SIGTERM));
    let output = feed.terminal.output();
    let summary: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let summary = &summary["summary"];
    assert_eq!((&summary["matched"], &summary["exit_code"]), (&1.into(), &143.into()));
    assert_eq!(summary["error"], "interrupted by SIGTERM");
}

#[test]
fn a_scan_that_waits_for_its_broker_is_interrupted_too() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let mut stage = stage;
    let mut feed = stage.feed(On::Both, ["--color=never"]);
    feed.progress(&found, 1);
    let broker = stage.env.take_broker();
    drop(broker);
    feed.terminal.wait_for("waiting for it to come back");
    feed.terminal.press(CTRL_C);
    assert_eq!(feed.terminal.finish().1, Some(Signal::SIGINT));
    let lines = feed.terminal.screen().text();
    assert!(lines.contains(&"Matches:    1".to_owned()), "{lines:#?}");
}

/// Whether a process waits for room on its standard output.
fn waits_for_room(pid: u32) -> Option<()> {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    call.starts_with("1 0x1 ").then_some(())
}

#[test]
fn a_second_ctrl_c_ends_what_the_first_one_could_not() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b' '; 4096]).unwrap();
    let on = |fdscan| Terminal::with_stdout(fdscan, OwnedFd::from(writer), 80);
    let mut feed = Feed::start(on, stage.fdscan());
    feed.give(&found);
    let pid = feed.terminal.running().pid();
    wait_until("nobody reads the results", || waits_for_room(pid));
    let since = Instant::now();
    // Two that come at once are one, so it is pressed until it has an effect.
    wait_until("an end", || {
        feed.terminal.press(CTRL_C);
        feed.terminal.running().ended_within(Duration::from_millis(50))
    });
    // After five seconds it would have ended by itself.
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(feed.terminal.finish().1, Some(Signal::SIGINT));
    drop(reader);
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    for number in 0..3000 {
        let _ = stage.env.file(&format!("t/{number}"), b"hay");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    let on = |fdscan| Terminal::with_stdout(fdscan, OwnedFd::from(writer), 80);
    let fdscan = stage.env.fdscan_program(&stage.caller).arg("--no-progress");
    let mut feed = Feed::start(on, fdscan);
    feed.give(&found);
    let mut reader = BufReader::new(File::from(OwnedFd::from(reader)));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, format!("{}: EICAR_Test_File FOUND\n", found.display()));
    drop(reader);
    feed.give(&stage.env.dir().join("t"));
    // It need not be told that there are no more: it ends by itself.
    assert_eq!(feed.terminal.finish(), (Some(1), None));
    assert_eq!(feed.terminal.written(), "");
}

#[test]
fn ignored_signals_stay_ignored() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let sh = fdbroker_tests::Program::at(std::path::Path::new("/bin/sh"));
    let bin = stage.env.install();
    let sh = sh.caller(&stage.caller).args(["-c", "trap '' INT; exec \"$@\"", "sh"]);
    let sh = sh.arg(bin.join("fdscan")).arg("--runtime-dir").arg(stage.env.runtime());
    let mut feed = Plain::start(sh.arg("--no-summary"));
    feed.scan(&found, "EICAR_Test_File FOUND");
    feed.signal(Signal::SIGINT);
    let clean = stage.env.file("t/clean", b"hay");
    feed.scan(&clean, "OK");
    assert_eq!(feed.finish().code, Some(1));
}
