//! What `fdscan` takes as targets, and where it looks for a broker.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::fake::{Dir, Fake, fdscan, opened, piped, report, status, stderr, stdout};
use fdbroker_common::limits::PATH_BYTES_MAX;
use fdbroker_common::outcome::Outcome;
use rustix::fs::{OFlags, fcntl_getfl};

fn all_clean() -> Fake {
    Fake::deciding(|target, _| vec![report(target, b"", Outcome::Clean)])
}

/// Finds everything clean, after a look at the one target that it is given.
fn looking(look: impl Fn(&str, &OwnedFd) + Send + 'static) -> Fake {
    Fake::deciding(move |target, descriptor| {
        look(str::from_utf8(&target.name).unwrap(), descriptor);
        vec![report(target, b"", Outcome::Clean)]
    })
}

fn content(descriptor: &OwnedFd) -> String {
    let mut text = String::new();
    fs::File::from(descriptor.try_clone().unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn paths_are_passed_as_opaque_descriptors() {
    let output = looking(|name, descriptor| {
        assert_eq!(name, "/etc/passwd");
        assert!(fcntl_getfl(descriptor).unwrap().contains(OFlags::PATH));
    })
    .scan(&["/etc/passwd"]);
    assert_eq!(status(&output), Some(0), "{output:?}");
}

#[test]
fn a_pipe_on_standard_input_is_copied() {
    let output = looking(|name, descriptor| {
        assert_eq!((name, content(descriptor).as_str()), ("-", "from a pipe"));
    })
    .scan_with(&["--no-summary", "-"], piped(b"from a pipe"));
    assert_eq!(stdout(&output), "-: OK\n");
    assert_eq!(status(&output), Some(0), "{output:?}");
}

#[test]
fn a_file_on_standard_input_is_passed_itself() {
    let files = Dir::new();
    let path = files.file("f", b"content");
    let inode = rustix::fs::stat(&path).unwrap().st_ino;
    let output = looking(move |_, descriptor| {
        assert_eq!(rustix::fs::fstat(descriptor).unwrap().st_ino, inode);
    })
    .scan_with(&["-"], opened(&path));
    assert_eq!(status(&output), Some(0), "{output:?}");
}

#[test]
fn a_stream_over_the_limit_is_incomplete() {
    let arguments = ["--no-summary", "--max-filesize", "3", "-"];
    let output = all_clean().scan_with(&arguments, piped(b"1234"));
    assert_eq!(stdout(&output), "-: stream limit, 3 bytes read INCOMPLETE\n");
    assert_eq!(status(&output), Some(2));
}

#[test]
fn a_closed_standard_input_is_not_an_empty_file() {
    let output = Command::new("sh")
        .args(["-c", "exec \"$0\" - <&-", env!("CARGO_BIN_EXE_fdscan")])
        .output()
        .unwrap();
    let expected = "fdscan: cannot scan standard input: it is closed\n";
    assert_eq!((stderr(&output), status(&output)), (expected, Some(2)));
}

#[test]
fn process_substitution_is_copied() {
    let fake = looking(|name, descriptor| {
        assert_eq!((name, content(descriptor).as_str()), ("/dev/fd/0", "substituted"));
    });
    let output = fake.scan_with(&["/dev/fd/0"], piped(b"substituted"));
    assert_eq!(status(&output), Some(0), "{output:?}");
}

#[test]
fn names_come_from_a_list() {
    let files = Dir::new();
    let list = files.file("list", b"/etc/passwd\n\n/nonexistent\n/etc");
    let list = list.to_str().unwrap();
    let output = all_clean().scan(&["--no-summary", "--files-from", list, "/tmp"]);
    assert_eq!(
        stdout(&output).lines().collect::<std::collections::BTreeSet<_>>(),
        [
            "/tmp: OK",
            "/etc/passwd: OK",
            "/nonexistent: No such file or directory ERROR",
            "/etc: OK"
        ]
        .into()
    );
}

#[test]
fn names_come_from_standard_input_and_end_in_nul_when_asked() {
    let arguments = ["--no-summary", "-0", "--files-from", "-"];
    let output = all_clean().scan_with(&arguments, piped(b"/etc\0/a\nb\0"));
    assert_eq!(stdout(&output), "/a\\nb: No such file or directory ERROR\n/etc: OK\n");
}

#[test]
fn a_name_longer_than_any_path_is_an_error_of_that_name() {
    let mut list = vec![b'x'; PATH_BYTES_MAX + 1];
    list.extend_from_slice(b"\n/etc\n");
    let files = Dir::new();
    let list = files.file("list", &list);
    let arguments = ["--no-summary", "--files-from", list.to_str().unwrap()];
    let output = all_clean().scan(&arguments);
    assert!(stdout(&output).contains("x: path too long ERROR\n"));
    assert!(stdout(&output).contains("/etc: OK\n"));
    assert_eq!(status(&output), Some(2));
}

#[test]
fn ten_thousand_names_pass() {
    let files = Dir::new();
    let list = files.file("list", "/etc/passwd\n".repeat(10_000).as_bytes());
    let output = all_clean().scan(&["-i", "--files-from", list.to_str().unwrap()]);
    assert!(stdout(&output).contains("Clean:      10000\n"), "{output:?}");
    assert_eq!(status(&output), Some(0));
}

#[test]
fn a_list_that_cannot_be_read_is_told() {
    for (list, reason) in
        [("/nonexistent", "No such file or directory"), ("/etc", "Is a directory")]
    {
        let output = fdscan().args(["--files-from", list]).output().unwrap();
        let expected = format!("fdscan: cannot read the list of files {list}: {reason}\n");
        assert_eq!((stderr(&output), status(&output)), (&*expected, Some(2)));
    }
}

#[test]
fn no_arguments_is_a_usage_error() {
    let output = fdscan().output().unwrap();
    assert_eq!(status(&output), Some(2));
    assert!(stderr(&output).contains("Usage: fdscan"), "{output:?}");
}

#[test]
fn a_named_broker_that_is_not_there_is_an_error_with_a_remedy() {
    let dir = Dir::new();
    let path = dir.0.display();
    let run = || {
        let mut command = fdscan();
        command.arg("--runtime-dir").arg(&dir.0).arg("/tmp");
        command.output().unwrap()
    };
    let absent = run();
    assert_eq!(
        stderr(&absent),
        format!(
            "fdscan: no broker at {path}/client.sock; start one with \
             `fdbroker --runtime-dir {path}` or use --private\n"
        )
    );
    assert_eq!(status(&absent), Some(2));

    drop(UnixDatagram::bind(dir.0.join("client.sock")).unwrap());
    let stale = run();
    assert!(stderr(&stale).contains("nobody listens at"), "{stale:?}");
    assert_eq!(status(&stale), Some(2));
}

#[test]
fn rules_that_are_not_there_are_told_before_anything_starts() {
    let output = fdscan().args(["--rules", "/nonexistent", "/tmp"]).output().unwrap();
    let expected = "fdscan: --rules /nonexistent: No such file or directory\n";
    assert_eq!((stderr(&output), status(&output)), (expected, Some(2)));
}
