//! Command lines, and what is made of them.

use std::os::unix::ffi::OsStringExt;

use fdbroker_common::details::DetailOptions;

use super::*;

fn read(arguments: &[&str]) -> Result<Args, clap::Error> {
    let all = ["fdscan"].iter().chain(arguments);
    Args::read(all.map(OsString::from))
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, size) in [
        ("100", 100),
        ("10K", 10 << 10),
        ("25M", 25 << 20),
        ("2G", 2 << 30),
        ("1TiB", 1 << 40),
        ("3kib", 3 << 10),
        ("4MB", 4 << 20),
        ("7b", 7),
    ] {
        assert_eq!(parse_size(text), Ok(size), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused() {
    for text in [
        "",
        "K",
        "-1",
        "1.5M",
        "10X",
        "10 K",
        "0",
        "0K",
        "99999999999999999999",
        "18446744073709551615K",
    ] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn usage_mistakes_end_with_2() {
    for wrong in [
        &[][..],
        &["-0", "x"],
        &["--files-from", "-", "-"],
        &["-", "-"],
        &["--max-filesize", "many", "x"],
        &["--timeout", "0", "x"],
        &["--timeout", "3601", "x"],
        &["--rules", "r", "--runtime-dir", "d", "x"],
        &["--private", "--runtime-dir", "d", "x"],
        &["--exclude", "", "x"],
        &["--unknown", "x"],
    ] {
        let error = read(wrong).expect_err("a usage error");
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn habits_from_elsewhere_are_understood_or_answered_in_a_line() {
    let taken = ["-r", "-riz", "--recursive", "--fdpass", "--multiscan", "-z", "-uu", "--hidden"];
    for option in taken.iter().chain(&["--no-ignore", "--stream", "--stdout", "-."]) {
        let args = read(&[option, "x"]).expect(option);
        assert_eq!(args.paths, [PathBuf::from("x")], "{option}");
    }
    assert_eq!(read(&["-f", "list"]).unwrap().files_from, Some("list".into()));
    for (option, word) in [
        ("--max-scansize=10M", "--max-filesize"),
        ("-d", "--rules"),
        ("-ldb.log", "fdscan PATH > FILE"),
        ("--remove", "--json"),
        ("--exclude-dir=x", "--exclude"),
        ("--scan-pdf=no", "rules"),
        ("--glob", "--exclude"),
        ("-e", "-m"),
        ("--reload", "fdbrokerctl reload"),
        ("--threads", "--workers"),
    ] {
        let error = read(&[option, "x"]).expect_err(option);
        let text = error.to_string();
        assert_eq!((error.exit_code(), text.lines().count()), (2, 1), "{text}");
        assert!(text.contains(word), "{text}");
    }
    assert!(read(&["--no-such-option", "x"]).unwrap_err().to_string().contains("Usage"));
}

#[test]
fn two_dashes_end_the_options_and_one_is_a_path() {
    let args = read(&["-i", "--", "--json", "-"]).unwrap();
    assert_eq!(args.paths, [PathBuf::from("--json"), PathBuf::from("-")]);
    assert!(args.infected && !args.json);
}

#[test]
fn names_and_patterns_need_not_be_utf8() {
    let odd = OsString::from_vec(b"a\xff".to_vec());
    let all = ["fdscan", "--exclude"].map(OsString::from);
    let args = Args::read(all.into_iter().chain([odd.clone(), odd.clone()])).unwrap();
    assert_eq!(args.paths, [PathBuf::from(odd)]);
    assert_eq!(args.scan_options().excludes[0].as_slice(), b"a\xff");
}

#[test]
fn choices_reach_the_opener() {
    let args =
        read(&["-L", "-i", "--one-file-system", "--max-filesize", "1K", "--timeout", "9", "x"])
            .unwrap();
    let expected = ScanOptions {
        omit_clean: true,
        one_filesystem: true,
        follow_links: true,
        file_bytes_max: 1024,
        file_deadline_s: 9,
        excludes: Vec::new(),
        details: DetailOptions::default(),
    };
    assert_eq!(args.scan_options(), expected);
    assert_eq!(args.stream_bytes_max(), 1024);
}

#[test]
fn details_are_asked_for_as_of_other_scanners_unless_nothing_is_printed() {
    for (arguments, sha256, matches, rules) in [
        (&["--hash", "x"][..], true, false, false),
        (&["-s", "x"], false, true, false),
        (&["-m", "x"], false, false, true),
        (&["-smg", "--hash", "x"], true, true, true),
        (&["--print-strings", "--print-tags", "x"], false, true, true),
        (&["-q", "-smg", "--hash", "x"], false, false, false),
    ] {
        let args = read(arguments).unwrap();
        assert_eq!(args.scan_options().details, DetailOptions { sha256, matches, rules });
        assert_eq!(args.style().details, args.shows());
    }
}

#[test]
fn a_broker_is_waited_for_as_long_as_a_file_and_never_long() {
    for (arguments, seconds) in
        [(&["x"][..], 30), (&["--timeout", "2", "x"], 2), (&["--timeout", "900", "x"], 30)]
    {
        assert_eq!(read(arguments).unwrap().patience(), Duration::from_secs(seconds));
    }
}

#[test]
fn help_fits_80_columns() {
    let help = Args::command().term_width(80).render_long_help().to_string();
    let widest = help.lines().map(str::len).max();
    assert!(widest <= Some(80), "{help}");
}

#[test]
fn grants_go_with_paths_and_with_no_links() {
    assert!(read(&["--granted", "a"]).is_ok_and(|args| args.granted));
    assert!(read(&["--granted", "--files-from", "-"]).is_ok());
    for other in [["-L", "a"], ["--private", "a"], ["--rules=x", "a"]] {
        let error = read(&["--granted", other[0], other[1]]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{other:?}");
    }
    let error = read(&["--granted", "-"]).unwrap_err().to_string();
    assert!(error.contains("standard input has no path"), "{error}");
}
