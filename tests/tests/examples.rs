//! Runs every example and holds docs/antivirus-example.md to what really happens.
//!
//! Commands behind `$` are run by an ordinary user: by nobody if the test is run by root. `1$` stays
//! running while `2$` is run. `#` needs root and is skipped otherwise.

#[path = "../examples/support/executable.rs"]
mod executable;
#[path = "examples/page.rs"]
mod page;
#[path = "../examples/support/scratch.rs"]
mod scratch;
#[path = "examples/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use page::Transcript;
use stage::{Running, SPAWNING, Stage};

#[test]
fn every_transcript_is_what_the_examples_say() {
    let stage = Stage::ordinary();
    let mut server: Option<(Transcript, Running)> = None;
    for shown in page::transcripts() {
        match shown.prompt.as_str() {
            "$" => compare(&shown, start(&stage, &shown)),
            "#" if geteuid().is_root() => {
                let own = Stage::own();
                compare(&shown, start(&own, &shown));
                own.assert_empty();
            }
            "#" => eprintln!("skipped: line {} of the page needs root", shown.line),
            "1$" => {
                let running = start(&stage, &shown);
                server = Some((shown, running));
            }
            "2$" => {
                let (its, running) = server.take().expect("2$ without 1$");
                let listening = its.output.iter().position(|line| line.starts_with("listening"));
                let mut said: Vec<String> = Vec::new();
                for _ in 0..=listening.unwrap() {
                    said.extend(running.line());
                }
                compare(&shown, start(&stage, &shown));
                let (rest, status) = running.finish();
                said.extend(rest);
                assert_eq!(said, its.output, "line {} of the page", its.line);
                assert!(status.success());
            }
            other => panic!("line {}: prompt {other}", shown.line),
        }
    }
    stage.assert_empty();
    assert!(server.is_none(), "1$ without 2$");
}

fn start(stage: &Stage, shown: &Transcript) -> Running {
    let (program, arguments) = shown.words.split_first().unwrap();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    stage.start(program, &arguments)
}

fn compare(shown: &Transcript, mut running: Running) {
    let mut said: Vec<String> = Vec::new();
    if shown.interrupted {
        for _ in &shown.output {
            said.extend(running.line());
        }
        running.kill();
    } else {
        let (all, status) = running.finish();
        assert!(status.success(), "line {}: {status} {all:?}", shown.line);
        said = all;
    }
    assert_eq!(said, shown.output, "line {} of the page", shown.line);
}

#[test]
fn every_example_is_shown_on_the_page() {
    let shown: BTreeSet<String> =
        page::transcripts().into_iter().map(|mut shown| shown.words.remove(0)).collect();
    let directory = page::workspace().join("tests/examples");
    let existing: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() || path.join("main.rs").is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    assert_eq!(shown, existing);
}

#[test]
fn every_excerpt_is_in_a_source_file() {
    let mut sources: Vec<String> = Vec::new();
    let mut directories: Vec<PathBuf> =
        ["tests/examples", "common/src"].map(|name| page::workspace().join(name)).to_vec();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let source = fs::read_to_string(path).unwrap();
                sources.push(page::squeezed(source.lines()));
            }
        }
    }
    for block in page::blocks("rust") {
        for part in block.lines.split(|line| line.trim() == "// …") {
            let wanted = page::squeezed(part.iter().map(String::as_str));
            let found = sources.iter().any(|source| source.contains(&wanted));
            assert!(found, "line {} shows what is nowhere:\n{wanted}", block.line);
        }
    }
}

#[test]
fn every_file_that_the_page_names_exists() {
    let text = page::text();
    let named = text.split('`').filter(|word| {
        word.contains('/') && word.ends_with(".rs") && !word.contains(char::is_whitespace)
    });
    let missing: Vec<&str> = named.filter(|word| !page::workspace().join(word).is_file()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The server says this one line, fails, and the page shows the line.
fn assert_refused(stage: &Stage, path: &str, message: &str) {
    let (said, status) = stage.start("stream_server", &[path]).finish();
    assert_eq!(said, [format!("stream_server: {message}")]);
    assert_eq!(status.code(), Some(1));
    assert!(page::text().contains(message), "not on the page: {message}");
}

#[test]
fn a_server_takes_no_name_from_anybody() {
    let stage = Stage::ordinary();
    let file = stage.work().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    assert_refused(&stage, "notes.txt", "notes.txt exists and is no socket");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    fs::remove_file(&file).unwrap();

    let first = listening(&stage, "stream_server", &["hello.sock", "1"]);
    assert_refused(&stage, "hello.sock", "hello.sock: another server is listening");
    let mut client = UnixStream::connect(stage.work().join("hello.sock")).unwrap();
    assert_eq!(ask(&mut client, b"still here"), "hello still here");
    first.finish();
    stage.assert_empty();
}

#[test]
fn a_path_that_does_not_fit_is_refused_and_never_cut() {
    let stage = Stage::ordinary();
    let longest = "x".repeat(107);
    let (said, status) = stage.start("stream_server", &[&longest, "0"]).finish();
    assert!(status.success(), "{said:?}");
    let message = "the path has 108 bytes, a socket's at most 107";
    assert_refused(&stage, &"x".repeat(108), message);
    stage.assert_empty();
}

#[test]
fn a_client_that_misbehaves_loses_only_its_own_connection() {
    let stage = Stage::ordinary();
    let server = listening(&stage, "stream_server", &["hello.sock", "1"]);
    let connect = || UnixStream::connect(stage.work().join("hello.sock")).unwrap();
    let says = |line: &str| assert_eq!(server.line().as_deref(), Some(line));

    drop(connect());
    says("client 1 connected");
    says("client 1 dropped: said nothing");

    let mut talker = connect();
    talker.write_all(&[b'x'; 1025]).unwrap();
    says("client 2 connected");
    says("client 2 dropped: said too much");

    assert_eq!(ask(&mut connect(), b"a\x1b[2J"), "hello a\x1b[2J");
    says("client 3 connected");
    says("client 3 said \"a\\x1b[2J\"");
    says("served 1 clients");
    assert!(server.finish().1.success());
    stage.assert_empty();
}

#[test]
fn an_echo_client_that_never_reads_holds_up_nobody() {
    let stage = Stage::ordinary();
    let server = listening(&stage, "echo_server", &["echo.sock", "2"]);
    let connect = || UnixStream::connect(stage.work().join("echo.sock")).unwrap();

    let mut deaf = connect();
    let bytes = b"not listening\n".repeat(64 * 1024);
    deaf.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        // Bounded: the server stops to read once its own way out is full.
        match deaf.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let mut other = BufReader::new(connect());
    other.get_mut().write_all(b"quick\n").unwrap();
    let mut line = String::new();
    other.read_line(&mut line).unwrap();
    assert_eq!(line, "quick\n");

    // Nothing was lost on the way either. A cut last line would be dropped, so it is completed.
    drop(other);
    deaf.set_nonblocking(false).unwrap();
    let mut reader = deaf.try_clone().unwrap();
    let rest = bytes[sent..bytes.len().min(sent + 14)].to_vec();
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let total = sent + if sent % 14 == 0 { 0 } else { end };
    let echoed = std::thread::spawn(move || {
        let mut echoed = Vec::new();
        reader.read_to_end(&mut echoed).unwrap();
        echoed
    });
    deaf.write_all(&bytes[sent..total]).unwrap();
    deaf.shutdown(Shutdown::Write).unwrap();
    assert!(echoed.join().unwrap() == bytes[..total]);
    assert!(server.finish().1.success());
    stage.assert_empty();
}

#[test]
fn the_scanner_starts_below_a_home_that_nobody_can_enter() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can start the scanner as nobody");
        return;
    }
    let home = scratch::Scratch::new().unwrap();
    let copy = home.path().join("antivirus");
    {
        let _alone = SPAWNING.lock().unwrap();
        fs::copy(stage::built("antivirus"), &copy).unwrap();
    }
    let shown = page::the_transcript("#", "antivirus");
    for mode in [0o755, 0o700] {
        fs::set_permissions(&copy, Permissions::from_mode(mode)).unwrap();
        let stage = Stage::own();
        compare(&shown, stage.start_file(&copy, &[]));
        stage.assert_empty();
    }
}

fn listening(stage: &Stage, example: &str, arguments: &[&str]) -> Running {
    let server = stage.start(example, arguments);
    let path = Path::new(arguments[0]).display();
    assert_eq!(server.line(), Some(format!("listening on {path}")));
    server
}

fn ask(client: &mut UnixStream, text: &[u8]) -> String {
    client.write_all(text).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}
