//! Long paths and deep trees.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use fdbroker_tests::Program;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use crate::stage::{NEEDLE, Stage, expected};

/// Directories one in the other, with files on the way down; longer than any path may be.
struct Chain {
    top: PathBuf,
}

impl Chain {
    fn new(top: PathBuf, name: &str, levels: usize, files_at: &[(usize, &[u8])]) -> Self {
        let mode = Mode::from_raw_mode(0o755);
        let enter = |at: &OwnedFd, name: &str| {
            openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        mkdirat(CWD, &top, mode).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for level in 0..=levels {
            for (_, contents) in files_at.iter().filter(|(at, _)| *at == level) {
                write(&directory, contents);
            }
            if level < levels {
                mkdirat(&directory, name, mode).unwrap();
                directory = enter(&directory, name).unwrap();
            }
        }
        Self { top }
    }
}

fn write(directory: &impl AsFd, contents: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
    File::from(file).write_all(contents).unwrap();
}

impl Drop for Chain {
    fn drop(&mut self) {
        // rm(1) needs one descriptor for any depth; the standard library needs one for each level.
        let _ = Program::at(Path::new("/bin/rm")).args(["-rf", "--"]).arg(&self.top).output();
    }
}

fn below(name: &str, levels: usize) -> String {
    format!("t/{}file", format!("{name}/").repeat(levels))
}

#[test]
fn a_tree_deeper_than_a_path_may_be_long() {
    let stage = Stage::new();
    let name = "n".repeat(250);
    let files: [(usize, &[u8]); 4] = [(0, b"hay"), (16, NEEDLE), (50, b""), (100, NEEDLE)];
    let _chain = Chain::new(stage.path("t"), &name, 100, &files);

    let output = stage.scan([stage.path("t")]).expect_code(1);

    let all = [
        (below(&name, 0), "OK"),
        (below(&name, 16), "Needle FOUND"),
        (below(&name, 50), "OK"),
        (below(&name, 100), "Needle FOUND"),
    ];
    let all: Vec<(&str, &str)> = all.iter().map(|(path, what)| (path.as_str(), *what)).collect();
    assert_eq!(stage.outcomes(&output), expected(&all));
    assert_eq!(output.errors(), "");
    stage.nobody_noticed();
}

#[test]
fn two_thousand_levels() {
    let stage = Stage::new();
    let files: [(usize, &[u8]); 3] = [(1, b"hay"), (1000, NEEDLE), (2000, NEEDLE)];
    let _chain = Chain::new(stage.path("t"), "d", 2000, &files);

    let output = stage.scan([stage.path("t")]).expect_code(1);

    let all = [
        (below("d", 1), "OK"),
        (below("d", 1000), "Needle FOUND"),
        (below("d", 2000), "Needle FOUND"),
    ];
    let all: Vec<(&str, &str)> = all.iter().map(|(path, what)| (path.as_str(), *what)).collect();
    assert_eq!(stage.outcomes(&output), expected(&all));
    stage.nobody_noticed();
}

#[test]
fn what_cannot_even_be_told_is_an_error_and_never_left_out() {
    let stage = Stage::new();
    let name = "n".repeat(250);
    let files: [(usize, &[u8]); 2] = [(100, NEEDLE), (180, NEEDLE)];
    let _chain = Chain::new(stage.path("t"), &name, 180, &files);

    let output = stage.scan([stage.path("t")]).expect_code(1);

    let found = stage.outcomes(&output);
    assert_eq!(found.get(&below(&name, 100)).map(String::as_str), Some("Needle FOUND"));
    let rest: Vec<&str> =
        found.values().map(String::as_str).filter(|o| *o != "Needle FOUND").collect();
    assert_eq!(rest, ["path too long ERROR"], "{output}");
    stage.nobody_noticed();
}

#[test]
fn a_path_of_4095_bytes_is_the_longest_that_can_be_named() {
    let stage = Stage::new();
    let file = stage.env.file("t/found", NEEDLE);
    let padded = |length: usize| {
        let slashes = length - file.as_os_str().len();
        let mut path = OsString::from("/".repeat(slashes));
        path.push(&file);
        assert_eq!(path.len(), length);
        path
    };
    for (path, outcome, code) in [
        (padded(4095), "Needle FOUND", 1),
        (padded(4096), "File name too long ERROR", 2),
        (padded(39_000), "File name too long ERROR", 2),
    ] {
        let output = stage.scan([&path]).expect_code(code);
        assert_eq!(output.text(), format!("{}: {outcome}\n", path.display()));
    }
    let component = stage.path("x".repeat(256));
    let output = stage.scan([&component]).expect_code(2);
    assert_eq!(output.text(), format!("{}: File name too long ERROR\n", component.display()));
}

#[test]
fn a_file_whose_name_cannot_be_told_whole_is_never_clean_for_a_rule_that_asks_for_it() {
    let stage = Stage::with(&[("name.yar", r#"rule Named { condition: filename == "file" }"#)]);
    let name = "n".repeat(250);
    // As long beneath the target as can be reported; with the name of the target it fits or not.
    let files: [(usize, &[u8]); 2] = [(0, b"hay"), (160, b"hay")];
    let _chain = Chain::new(stage.path("t"), &name, 160, &files);

    let output = stage.scan([stage.path("t")]).expect_code(1);
    let all = [(below(&name, 0), "Named FOUND"), (below(&name, 160), "Named FOUND")];
    let all: Vec<(&str, &str)> = all.iter().map(|(path, what)| (path.as_str(), *what)).collect();
    assert_eq!(stage.outcomes(&output), expected(&all));

    let mut long = stage.path("t").into_os_string();
    long.push("/.".repeat(500));
    let output = stage.scan([long]).expect_code(1);
    let ends = |what: &str| output.text().lines().filter(|line| line.ends_with(what)).count();
    assert_eq!((ends(": Named FOUND"), ends(": path too long ERROR")), (1, 1), "{output}");
    assert_eq!(ends(": OK"), 0);
}
