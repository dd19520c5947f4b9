//! Names are bytes: none of them breaks a line, moves a cursor or is told as another one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::stage::{NEEDLE, Stage};

/// A name, and how it is shown to people.
const NAMES: [(&[u8], &str); 12] = [
    (b"new\nline", "new\\nline"),
    (b"forged: OK\n/etc/passwd", "forged: OK\\n"),
    (b"clear\x1b[2J\x1b]0;title\x07", "clear\\x1b[2J\\x1b]0;title\\x07"),
    (b"not\xffutf8\xc3", "not\\xffutf8\\xc3"),
    (b"carriage\rreturn", "carriage\\rreturn"),
    (b"tab\there", "tab\\there"),
    (b"back\\slash", "back\\\\slash"),
    ("right\u{202e}fdp.exe".as_bytes(), "right\\u{202e}fdp.exe"),
    ("c1\u{9b}31m".as_bytes(), "c1\\u{9b}31m"),
    (b"-rf", "-rf"),
    (b" spaces ", " spaces "),
    ("日本語-ü".as_bytes(), "日本語-ü"),
];

fn fill(stage: &Stage) {
    for (name, _) in NAMES {
        let name = OsStr::from_bytes(&[b"t/", name].concat()).to_owned();
        let path = stage.path(&name);
        fdbroker_tests::files::write(&path, NEEDLE);
    }
}

#[test]
fn text_is_escaped() {
    let stage = Stage::new();
    fill(&stage);

    let output = stage.scan([stage.path("t")]).expect_code(1);

    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let base = stage.path("t");
    let shown: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let expected: BTreeSet<String> = NAMES
        .iter()
        .map(|(name, escaped)| {
            // The one with a slash is a file in a directory.
            let rest = if name.contains(&b'/') { "/etc/passwd" } else { "" };
            format!("{}/{escaped}{rest}: Needle FOUND", base.display())
        })
        .collect();
    assert_eq!(shown, expected);
    assert_eq!(text.lines().count(), NAMES.len());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    stage.nobody_noticed();
}

#[test]
fn json_has_the_name_itself() {
    let stage = Stage::new();
    fill(&stage);

    let output = stage.scan(["--json".as_ref(), stage.path("t").as_os_str()]).expect_code(1);

    let prefix = format!("{}/", stage.path("t").display());
    let mut found = BTreeSet::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let object: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(object["outcome"], "match");
        let path = match (&object["path"]["text"], &object["path"]["bytes"]) {
            (Value::String(text), Value::Null) => text.as_bytes().to_vec(),
            (Value::Null, Value::String(encoded)) => {
                let bytes = decode(encoded);
                assert!(std::str::from_utf8(&bytes).is_err(), "needlessly encoded: {bytes:?}");
                bytes
            }
            other => panic!("{other:?}"),
        };
        found.insert(path.strip_prefix(prefix.as_bytes()).unwrap().to_vec());
    }
    assert_eq!(found, NAMES.iter().map(|(name, _)| name.to_vec()).collect());
}

#[test]
fn a_name_in_an_error_is_escaped_too() {
    let stage = Stage::new();
    let target = OsStr::from_bytes(b"/nonexistent/\x1b[31m\xfe\n");
    let output = stage.scan([target]).expect_code(2);
    let line = "/nonexistent/\\x1b[31m\\xfe\\n: No such file or directory ERROR\n";
    assert_eq!(output.text(), line);

    let output = stage.env.fdscan_program(&stage.caller).arg("--files-from").arg(target).output();
    let line = "fdscan: cannot read the list of files /nonexistent/\\x1b[31m\\xfe\\n: \
                No such file or directory\n";
    assert_eq!((output.code, output.errors().as_str()), (Some(2), line));
}

/// RFC 4648, section 4.
fn decode(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 0,
        other => panic!("{other} in base64"),
    };
    let padding = text.bytes().rev().take_while(|letter| *letter == b'=').count();
    let mut bytes: Vec<u8> = text
        .as_bytes()
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().fold(0, |bits, letter| bits << 6 | value(*letter));
            bits.to_be_bytes()[1..].to_vec()
        })
        .collect();
    bytes.truncate(bytes.len() - padding);
    bytes
}
