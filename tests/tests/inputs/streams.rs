//! Standard input, pipes given by path, and standard output that does not take everything.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use fdbroker_tests::{Output, Program};

use crate::stage::{NEEDLE, Stage, only_complaint};

/// A pipe into which the bytes are written by a thread.
fn pipe_of(contents: Vec<u8>) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // Whoever has read enough may close it.
    thread::spawn(move || writer.write_all(&contents));
    reader.into()
}

fn large(bytes: usize, end: &[u8]) -> Vec<u8> {
    let mut contents = vec![b'.'; bytes - end.len()];
    contents.extend_from_slice(end);
    contents
}

#[test]
fn standard_input_is_scanned_whatever_it_is() {
    let stage = Stage::new();
    let file = stage.env.file("found", NEEDLE);
    let dash = |stdin: OwnedFd| stage.fdscan().arg("-").stdin(stdin).output();
    let file = || -> OwnedFd { File::open(&file).unwrap().into() };
    let found = "-: Needle FOUND\n";
    assert_eq!(dash(file()).expect_code(1).text(), found);
    assert_eq!(dash(pipe_of(NEEDLE.to_vec())).expect_code(1).text(), found);
    assert_eq!(dash(pipe_of(large(3 << 20, NEEDLE))).expect_code(1).text(), found);
    assert_eq!(dash(pipe_of(Vec::new())).expect_code(0).text(), "-: OK\n");
    // A file that is open for writing too, or that the caller could not open itself.
    let both = File::options().read(true).write(true).open(stage.env.file("rw", NEEDLE)).unwrap();
    if nix::unistd::geteuid().is_root() {
        fdbroker_tests::files::own(&stage.path("found"), 0, 0, 0o600);
        assert_eq!(dash(file()).expect_code(1).text(), found);
    }
    assert_eq!(dash(both.into()).expect_code(1).text(), found);
    stage.nobody_noticed();
}

#[test]
fn a_directory_as_standard_input_is_walked() {
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    let directory = File::open(stage.path("t")).unwrap();
    let output = stage.fdscan().arg("-").stdin(directory).output().expect_code(1);
    assert_eq!(output.text(), "-/found: Needle FOUND\n");
}

#[test]
fn a_stream_over_the_limit_is_incomplete_even_if_its_beginning_is_clean() {
    let stage = Stage::new();
    let limited = |contents| {
        let fdscan = stage.fdscan().args(["--max-filesize", "100K", "-"]);
        fdscan.stdin(pipe_of(contents)).output()
    };
    let output = limited(large(100 << 10, NEEDLE)).expect_code(1);
    assert_eq!(output.text(), "-: Needle FOUND\n");
    let output = limited(large((100 << 10) + 1, NEEDLE)).expect_code(2);
    assert_eq!(output.text(), "-: stream limit, 102400 bytes read INCOMPLETE\n");
    let output = limited(large(8 << 20, NEEDLE)).expect_code(2);
    assert_eq!(output.text(), "-: stream limit, 102400 bytes read INCOMPLETE\n");
}

#[test]
fn standard_input_that_is_closed_is_no_clean_file() {
    let stage = Stage::new();
    let output = shell(&stage, "\"$0\" --runtime-dir \"$1\" - <&-", &[]).expect_code(2);
    let complaint = only_complaint(&output);
    assert_eq!(complaint, "fdscan: cannot scan standard input: it is closed");
    let output = shell(&stage, "\"$0\" --runtime-dir \"$1\" - </dev/null", &[]);
    assert_eq!(output.code, Some(0), "the user's own choice: {output}");
}

#[test]
fn a_pipe_that_a_shell_gives_by_path_is_scanned() {
    let stage = Stage::new();
    let script = "exec 3<&0; \"$0\" --runtime-dir \"$1\" --no-summary /dev/fd/3";
    let pipe = "printf 'a needle' | { ";
    let output = shell(&stage, &format!("{pipe}{script}; }}"), &[]).expect_code(1);
    assert_eq!(output.text(), "/dev/fd/3: Needle FOUND\n");
    if !Path::new("/bin/bash").exists() {
        return;
    }
    let script = "\"$0\" --runtime-dir \"$1\" --no-summary <(printf 'a needle') <(printf hay)";
    let output = run("/bin/bash", &stage, script, &[]).expect_code(1);
    let outcomes: Vec<String> = output.text().lines().map(str::to_owned).collect();
    assert_eq!(outcomes.len(), 2, "{output}");
    assert!(outcomes[0].ends_with(": Needle FOUND") && outcomes[1].ends_with(": OK"), "{output}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let stage = Stage::new();
    for number in 0..20_000_u32 {
        let _ = std::fs::create_dir(stage.path("t"));
        std::fs::write(stage.path(format!("t/{number}")), NEEDLE).unwrap();
    }
    let script = "{ \"$0\" --runtime-dir \"$1\" \"$2\"; echo \"status $?\" >&2; } | head -n 1";
    let output = shell(&stage, script, &[&stage.path("t")]).expect_code(0);
    assert_eq!(output.text().lines().count(), 1, "{output}");
    assert_eq!(output.errors(), "status 1\n", "no more than the status of a match");
    stage.nobody_noticed();
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let stage = Stage::new();
    let clean = stage.env.file("clean", b"hay");
    let script = "\"$0\" --runtime-dir \"$1\" \"$2\" >/dev/full";
    let output = shell(&stage, script, &[&clean]).expect_code(2);
    let complaint = "fdscan: cannot write to standard output: No space left on device";
    assert_eq!(only_complaint(&output), complaint);
    // Whoever closes it wants the exit status alone.
    let found = stage.env.file("found", NEEDLE);
    for (target, code) in [(&clean, 0), (&found, 1)] {
        let script = "\"$0\" --runtime-dir \"$1\" \"$2\" >&-";
        let output = shell(&stage, script, &[target]).expect_code(code);
        assert_eq!(output.errors(), "");
    }
}

/// Runs a script as the user: `$0` is fdscan, `$1` the runtime directory, then the arguments.
#[track_caller]
fn shell(stage: &Stage, script: &str, arguments: &[&Path]) -> Output {
    run("/bin/sh", stage, script, arguments)
}

#[track_caller]
fn run(shell: &str, stage: &Stage, script: &str, arguments: &[&Path]) -> Output {
    let program = Program::at(Path::new(shell)).caller(&stage.caller).args(["-c", script]);
    let program = program.arg(stage.env.install().join("fdscan")).arg(stage.env.runtime());
    program.args(arguments).output()
}
