use std::path::Path;

use super::*;
use crate::configuration::schema::Kind;

fn sources(texts: &[&str]) -> Vec<Source> {
    let name = |nth: usize| format!("/etc/{nth}.toml");
    let source =
        |(nth, text): (usize, &&str)| Source::new(Path::new(&name(nth)), (*text).to_owned());
    texts.iter().enumerate().map(source).collect()
}

fn findings(texts: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut findings = Findings::default();
    let _ = read(&sources(texts), &mut findings);
    let text = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    (text(findings.problems), text(findings.notes))
}

#[track_caller]
fn assert_problem(text: &str, expected: &str) {
    assert_eq!(findings(&[text]).0, [format!("/etc/0.toml:{expected}")], "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_one() {
    for (text, expected) in [
        ("\nruntime_dri = \"/x\"", "2:1: unknown key `runtime_dri`; did you mean `runtime_dir`?"),
        ("  Workers = 2", "1:3: unknown key `Workers`; did you mean `workers`?"),
        ("spawn-scanner = true", "1:1: unknown key `spawn-scanner`; did you mean `spawn_scanner`?"),
        ("[[grants]]\ntrees = []", "1:3: unknown key `grants`; did you mean `grant`?"),
        ("[[grant]]\ntree = []", "2:1: unknown key `tree` in [[grant]]; did you mean `trees`?"),
        ("[[deny]]\nuser = []", "2:1: unknown key `user` in [[deny]]; did you mean `users`?"),
        (
            "[audit]\nfromat = \"json\"",
            "2:1: unknown key `fromat` in [audit]; did you mean `format`?",
        ),
        ("trees = []", "1:1: unknown key `trees`; it belongs into [[grant]]"),
        (
            "[[grant]]\nworkers = 2",
            "2:1: unknown key `workers` in [[grant]]; it belongs before the first table",
        ),
        (
            "[[limit]]\nwrokers = 2",
            "2:1: unknown key `wrokers` in [[limit]]; if you mean `workers`, it belongs elsewhere",
        ),
        (
            "[audit]\nzzzzzzz = 1",
            "2:1: unknown key `zzzzzzz` in [audit]; there are to, format, files",
        ),
    ] {
        assert_problem(text, expected);
    }
}

#[test]
fn a_wrong_type_or_range_says_what_belongs_there() {
    for (text, expected) in [
        ("workers = \"4\"", "1:11: `workers` takes an integer from 1 to 256, not a string"),
        ("workers = 0", "1:11: `workers` is at least 1"),
        ("workers = 257", "1:11: `workers` is an integer from 1 to 256"),
        ("workers = -1", "1:11: `workers` is an integer from 1 to 256"),
        ("workers = 99999999999999999999", "1:11: `workers` is an integer from 1 to 256"),
        ("spawn_scanner = 1", "1:17: `spawn_scanner` takes true or false, not an integer"),
        ("runtime_dir = [\"/x\"]", "1:15: `runtime_dir` takes a string, not an array"),
        ("rules = \"\"", "1:9: `rules` is empty, or has a zero byte in it"),
        ("rules = \"a\\u0000b\"", "1:9: `rules` is empty, or has a zero byte in it"),
        (
            "audit = \"off\"",
            "1:1: `audit` is a table; write [audit] in a line of its own before its keys",
        ),
        (
            "[grant]\nusers = [1]",
            "1:2: `grant` is a table; write [[grant]] in a line of its own before its keys",
        ),
        (
            "[[audit]]\nto = \"off\"",
            "1:3: `audit` is a table; write [audit] in a line of its own before its keys",
        ),
        ("[audit]\nformat = \"xml\"", "2:10: `format` takes one of \"text\", \"json\""),
        (
            "[audit]\nto = \"syslog\"",
            "2:6: `to` takes one of \"auto\", \"journal\", \"stderr\", \"off\", or an absolute path",
        ),
        (
            "[[deny]]\nusers = \"alice\"",
            "2:9: `users` takes a list of names and numbers, not a string",
        ),
        (
            "[[deny]]\nusers = [\"a\", 1.5]",
            "2:15: `users` takes a list of names and numbers; a float is none",
        ),
        ("[[deny]]\nusers = [4294967295]", "2:10: a number in `users` is from 0 to 4294967294"),
        ("[[deny]]\nusers = [\"\"]", "2:10: an empty name in `users`, or a zero byte in it"),
        (
            "[[limit]]\nscan_bytes = \"much\"",
            "2:14: `scan_bytes` takes a number of bytes, as 1048576 or \"1M\"",
        ),
        (
            "[[limit]]\nfile_bytes_max = \"3G\"",
            "2:18: `file_bytes_max` is an integer from 1 to 2147483648 bytes",
        ),
        ("[[limit]]\nconnections = 65", "2:15: `connections` is an integer from 1 to 64"),
        ("workers = 1 2", "1:11: string values must be quoted, expected literal string"),
        ("workers = 1\nworkers = 2", "2:1: duplicate key"),
    ] {
        assert_problem(text, expected);
    }
}

#[test]
fn paths_that_are_not_absolute_or_not_plain_are_refused() {
    for path in ["srv", "./srv", "/srv/../etc", "/srv/./x", "/srv//x", "/srv/", "", "/a\\u0000b"] {
        let text = format!("[[grant]]\ntrees = [\"/ok\", \"{path}\"]");
        let (problems, _) = findings(&[&text]);
        assert_eq!(problems.len(), 1, "{path}: {problems:?}");
        assert!(problems[0].starts_with("/etc/0.toml:2:17: `"), "{problems:?}");
        assert!(problems[0].contains("write an absolute path without"), "{problems:?}");
    }
    assert_eq!(findings(&["[[grant]]\ntrees = [\"/\", \"/srv/a b\"]"]).0, [""; 0]);
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_in_their_order() {
    let first = "workers = \"x\"\nwrong = 1\n[[grant]]\nusers = 3\nelse = 1\n";
    let (problems, _) = findings(&[first, "rules = 1", "= broken"]);
    let places: Vec<&str> = problems.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "/etc/0.toml:1:11:",
            "/etc/0.toml:2:1:",
            "/etc/0.toml:4:9:",
            "/etc/0.toml:5:1:",
            "/etc/1.toml:1:9:",
            "/etc/2.toml:1:1:"
        ]
    );
}

#[test]
fn tables_add_up_and_a_later_file_wins_and_says_so() {
    let mut found = Findings::default();
    let texts = [
        "workers = 2\nrules = \"/a\"\n[audit]\nfiles = \"all\"\n[[deny]]\nusers = [1]\n",
        "\nworkers = 3\n[audit]\nformat = \"json\"\n[[deny]]\nusers = [\"2\"]\n[[deny]]\ngroups = [3]\n",
    ];
    let document = read(&sources(&texts), &mut found);
    assert_eq!(found.problems, []);
    let notes: Vec<String> = found.notes.iter().map(Problem::to_string).collect();
    assert_eq!(notes, ["/etc/1.toml:2:1: `workers` replaces what /etc/0.toml:1 says"]);
    let top = document.single("").unwrap();
    assert_eq!((top.number("workers"), top.text("rules")), (Some(3), Some("/a")));
    let audit = document.single("audit").unwrap();
    assert_eq!((audit.text("files"), audit.text("format")), (Some("all"), Some("json")));
    let denied = document.repeated("deny");
    let places: Vec<String> =
        denied.iter().map(|table| table.place.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["/etc/0.toml:5:1", "/etc/1.toml:5:1", "/etc/1.toml:7:1"]);
    assert_eq!(denied[1].list("users")[0].value, "2");
}

#[test]
fn sizes_are_powers_of_1024() {
    let bytes = |text: &str| {
        let mut found = Findings::default();
        let text = format!("[[limit]]\nscan_bytes = {text}");
        let document = read(&sources(&[&text]), &mut found);
        document.repeated("limit")[0].number("scan_bytes")
    };
    for (text, size) in [
        ("1048576", 1 << 20),
        ("0x10", 16),
        ("1_000", 1000),
        ("\"7\"", 7),
        ("\"10K\"", 10 << 10),
        ("\"25M\"", 25 << 20),
        ("\"2G\"", 2 << 30),
        ("\"1T\"", 1 << 40),
        ("\"3kib\"", 3 << 10),
    ] {
        assert_eq!(bytes(text), Some(size), "{text}");
    }
    for text in ["\"\"", "\"M\"", "\"1.5G\"", "\"-1\"", "\"1X\"", "0", "\"0K\"", "\"99999999T\""] {
        assert_eq!(bytes(text), None, "{text}");
    }
}

#[test]
fn what_is_shown_of_a_file_is_one_line_and_moves_no_cursor() {
    let long = "x".repeat(10_000);
    for text in [
        "\"a\\nb\\u001b[2J\\u202e\" = 1",
        "rules = \"\\u001b\\n\"\n\"\\t\" = 1",
        &format!("{long} = 1"),
    ] {
        let (problems, _) = findings(&[text]);
        assert!(!problems.is_empty(), "{text}");
        for line in problems {
            let safe = |c: char| !c.is_control() && c != '\u{202e}';
            assert!(line.chars().all(safe) && line.len() < 1000, "{line:?}");
        }
    }
}

#[test]
fn no_file_has_more_tables_than_can_be_meant() {
    let text = "[[deny]]\n".repeat(TABLES_MAX + 2);
    let (problems, _) = findings(&[&text]);
    assert!(
        problems.iter().any(|line| line.contains("more than 1024 [[deny]] tables")),
        "{problems:?}"
    );
}

#[test]
fn every_value_of_the_schema_is_of_the_kind_that_it_stands_for() {
    for section in SECTIONS {
        for key in section.keys {
            let text = format!("{}\n{} = {}", section.head(), key.name, key.value);
            let (problems, notes) = findings(&[&text]);
            assert_eq!((problems, notes), (Vec::new(), Vec::new()), "{text}");
            // What belongs to no kind.
            let text = format!("{}\n{} = 1979-05-27", section.head(), key.name);
            let (problems, _) = findings(&[&text]);
            assert!(problems[0].contains(&key.kind.wants()), "{text}: {problems:?}");
        }
    }
    assert_eq!(Kind::Flag.wants(), "true or false");
}
