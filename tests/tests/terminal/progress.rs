//! The line that says how far a long scan is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_tests::files::EICAR;
use fdbroker_tests::terminal::On;

use crate::stage::{Feed, Stage, WIPE, drawn};
use fdbroker_tests::Terminal;

#[test]
fn a_long_scan_shows_how_far_it_is_and_nothing_of_it_stays() {
    let stage = Stage::new();
    let clean = stage.env.file("t/clean", &[b' '; 3000]);
    let found = stage.env.file("t/found", EICAR);
    let mut feed = stage.feed(On::Errors, ["--no-summary"]);
    feed.progress(&clean, 1);
    feed.progress(&found, 2);
    feed.terminal.wait_for("2 files, 2.9 KiB, ");
    feed.terminal.wait_for(", 1 found  ");
    assert_eq!(feed.finish(), 1);
    let name = clean.display().to_string();
    assert!(drawn(&feed.terminal.written()).iter().any(|line| line.contains(&name[1..])));
    assert_eq!(feed.terminal.screen().text(), [""]);
    let output = feed.terminal.output();
    let expected = format!("{name}: OK\n{}: EICAR_Test_File FOUND\n", found.display());
    assert_eq!(output, expected);
}

#[test]
fn it_is_drawn_a_few_times_a_second_and_not_for_each_file() {
    let stage = Stage::new();
    for number in 0..20_000 {
        let _ = stage.env.file(&format!("t/{number}"), b"hay");
    }
    let mut feed = stage.feed(On::Errors, ["--no-summary"]);
    let since = std::time::Instant::now();
    feed.progress(&stage.env.dir().join("t"), 20_000);
    let most = since.elapsed().as_millis() / 100 + 2;
    assert_eq!(feed.finish(), 0);
    let times = drawn(&feed.terminal.written()).len();
    assert!(times as u128 <= most + 20, "{times} times in {:?}", since.elapsed());
}

#[test]
fn results_on_the_same_terminal_have_lines_of_their_own() {
    let stage = Stage::new();
    let mut feed = stage.feed(On::Both, ["--no-summary", "--color=never"]);
    let mut expected = Vec::new();
    for number in 1..=5 {
        let file = stage.env.file(&format!("t/{number}"), b"hay");
        feed.progress(&file, number);
        expected.push(format!("{}: OK", file.display()));
        let lines = feed.terminal.screen().text();
        assert_eq!(lines[..number], expected, "{lines:?}");
    }
    // What could not be scanned goes to standard error with -i, which is the same terminal too.
    assert_eq!(feed.finish(), 0);
    expected.push(String::new());
    assert_eq!(feed.terminal.screen().text(), expected);

    let mut feed = stage.feed(On::Both, ["--no-summary", "--color=never", "-i"]);
    let clean = stage.env.file("t/clean", b"hay");
    feed.progress(&clean, 1);
    let gone = stage.env.dir().join("gone");
    feed.progress(&gone, 2);
    assert_eq!(feed.finish(), 2);
    let complaint = format!("{}: No such file or directory ERROR", gone.display());
    assert_eq!(feed.terminal.screen().text(), [complaint, String::new()]);
}

#[test]
fn it_fits_the_window_and_follows_its_size() {
    let stage = Stage::new();
    let file = stage.env.file(&format!("t/{}", "long".repeat(50)), b"hay");
    let mut feed = stage.feed(On::Errors, ["--no-summary"]);
    feed.progress(&file, 1);
    for (files, columns) in (2..).zip([30_u16, 10, 1, 200]) {
        feed.terminal.resize(columns);
        feed.give(&file);
        // At least once a second there is news, and so the line is drawn anew.
        feed.terminal.wait("a line of this width", |written| {
            drawn_last(written).is_some_and(|line| {
                line.len() < usize::from(columns) && (columns < 200 || line.len() > 80)
            })
        });
        if columns >= 30 {
            feed.terminal.wait_for(&format!("{WIPE}{files} files, "));
        }
    }
    assert_eq!(feed.finish(), 0);
    for line in drawn(&feed.terminal.written()) {
        assert!(line.len() < 200 && !line.ends_with(' '), "{line:?}");
    }
    assert_eq!(feed.terminal.screen().text(), [""]);
}

/// What the last whole drawing shows.
fn drawn_last(written: &str) -> Option<&str> {
    written.strip_suffix('\r')?.rsplit(WIPE).next()
}

#[test]
fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
    let stage = Stage::new();
    let name = OsStr::from_bytes(b"t/a\x1b[2J\x07\xe2\x80\xae\xff\xc2\x9bz");
    let file = stage.env.dir().join(name);
    fdbroker_tests::files::write(&file, b"hay");
    let fdscan = stage.fdscan().directory(stage.env.dir());
    let mut feed = Feed::start(|fdscan| Terminal::start(fdscan, On::Errors, 120), fdscan);
    feed.progress(name.as_ref(), 1);
    feed.terminal.wait_for("  t/a\\x1b[2J\\x07\\u{202e}\\xff\\u{9b}z\r");
    assert_eq!(feed.finish(), 0);
    let written = feed.terminal.written();
    assert_eq!(feed.terminal.screen().text(), [""]);
    assert!(!written.contains(['\u{202e}', '\u{9b}', '\x07', '\u{fffd}']), "{written:?}");
}

#[test]
fn nothing_is_shown_to_who_wants_none_of_it() {
    let stage = Stage::new();
    let file = stage.env.file("t/clean", b"hay");
    for option in ["--no-progress", "--quiet"] {
        let mut without = stage.feed(On::Errors, ["--no-summary", option]);
        without.give(&file);
        // Another one, that was started later, shows two lines, a second apart.
        let mut with = stage.feed(On::Errors, ["--no-summary"]);
        with.progress(&file, 1);
        with.terminal.wait("a second line", |written| drawn(written).len() > 1);
        assert_eq!((with.finish(), without.finish()), (0, 0));
        assert_eq!(without.terminal.written(), "");
    }
    // Without a terminal there is none either.
    let mut feed = stage.env.feed(&stage.caller);
    feed.scan(&file, "OK");
    let mut with = stage.feed(On::Errors, ["--no-summary"]);
    with.progress(&file, 1);
    let _ = with.finish();
    assert_eq!(feed.finish().errors(), "");
}
