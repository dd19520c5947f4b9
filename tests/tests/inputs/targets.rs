//! How targets may be written, and what the caller is told about those that cannot be had.

use std::ffi::OsString;

use crate::stage::{NEEDLE, Stage, expected};

#[test]
fn what_does_not_exist_is_an_error_of_its_own() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", NEEDLE);
    let clean = stage.env.file("t/clean", b"hay");
    let below_a_file = stage.path("t/clean/x");

    let output = stage.scan([&stage.path("gone"), &clean, &below_a_file]).expect_code(2);
    let all = expected(&[
        ("gone", "No such file or directory ERROR"),
        ("t/clean", "OK"),
        ("t/clean/x", "Not a directory ERROR"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    let output = stage.scan([&stage.path("gone"), &found]).expect_code(1);
    assert_eq!(stage.outcomes(&output).len(), 2);
    stage.nobody_noticed();
}

#[test]
fn the_empty_name_is_a_mistake() {
    let stage = Stage::new();
    let output = stage.scan([""]).expect_code(2);
    assert_eq!(output.text(), "");
    assert!(output.errors().contains("PATH"), "{output}");
}

#[test]
fn a_directory_may_be_written_in_many_ways() {
    let stage = Stage::new();
    let _ = stage.env.file("t/sub/found", NEEDLE);
    for (target, shown) in [
        ("t", "t/sub/found"),
        ("t/", "t/sub/found"),
        ("t//", "t/sub/found"),
        ("./t", "./t/sub/found"),
        (".", "./t/sub/found"),
        ("t/.", "t/./sub/found"),
        ("t/sub/..", "t/sub/../sub/found"),
    ] {
        let directory = stage.path("w");
        if !directory.exists() {
            let _ = stage.env.file("w/t/sub/found", NEEDLE);
        }
        let output = stage.fdscan().arg(target).directory(&directory).output().expect_code(1);
        assert_eq!(output.text(), format!("{shown}: Needle FOUND\n"), "{target}");
    }
}

#[test]
fn a_file_given_twice_is_told_twice() {
    let stage = Stage::new();
    let file = stage.env.file("t/found", NEEDLE);
    let directory = stage.path("t");
    let output = stage.scan([&file, &file, &directory]).expect_code(1);
    let line = format!("{}: Needle FOUND\n", file.display());
    assert_eq!(output.text(), line.repeat(3));
}

#[test]
fn thousands_of_targets_have_an_outcome_each() {
    let stage = Stage::new();
    let mut arguments: Vec<OsString> = Vec::new();
    let mut all = Vec::new();
    for number in 0..3000_u32 {
        let (contents, outcome) = match number % 100 {
            7 => (NEEDLE, "Needle FOUND"),
            _ => (&b"hay"[..], "OK"),
        };
        let name = format!("t/{number}");
        // Some of them are not there.
        if number % 100 == 13 {
            all.push((name.clone(), "No such file or directory ERROR"));
        } else {
            let _ = stage.env.file(&name, contents);
            all.push((name.clone(), outcome));
        }
        arguments.push(stage.path(&name).into());
    }
    let output = stage.scan(&arguments).expect_code(1);
    let all: Vec<(&str, &str)> = all.iter().map(|(name, what)| (name.as_str(), *what)).collect();
    assert_eq!(stage.outcomes(&output), expected(&all));
    stage.nobody_noticed();
}
