//! Everything that is no ordinary file, inside a directory and as a target.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fdbroker_tests::{Program, Running, files, proc, require_root, wait_until};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::stage::{NEEDLE, Stage, expected};

/// Somebody who waits for a reader of a named pipe.
fn blocked_writer(fifo: &Path) -> Running {
    let script = "exec 3>\"$0\"; echo opened";
    let writer = Program::at(Path::new("/bin/sh")).args(["-c", script]).arg(fifo).spawn();
    wait_until("the writer waits", || {
        // By then it is the shell, not the helper that becomes the shell.
        let line = fs::read(format!("/proc/{}/cmdline", writer.pid())).ok()?;
        let status = proc::status(writer.pid())?;
        (line.starts_with(b"sh\0") && status.state == 'S').then_some(())
    });
    writer
}

fn fifo(path: &Path) {
    mknod(path, SFlag::S_IFIFO, Mode::from_bits_truncate(0o666), 0).unwrap();
}

#[test]
fn a_directory_of_all_kinds() {
    let stage = Stage::new();
    let _ = stage.env.file("t/clean", b"hay");
    let _ = stage.env.file("t/sub/found", NEEDLE);
    symlink("clean", stage.path("t/link")).unwrap();
    symlink("nowhere", stage.path("t/dangling")).unwrap();
    symlink("..", stage.path("t/sub/up")).unwrap();
    fifo(&stage.path("t/fifo"));
    let _listener = UnixListener::bind(stage.path("t/socket")).unwrap();
    let writer = blocked_writer(&stage.path("t/fifo"));

    let output = stage.scan([stage.path("t")]);

    let found = stage.outcomes(&output);
    let all = expected(&[
        ("t/clean", "OK"),
        ("t/sub/found", "Needle FOUND"),
        ("t/link", "symbolic link SKIPPED"),
        ("t/dangling", "symbolic link SKIPPED"),
        ("t/sub/up", "symbolic link SKIPPED"),
        ("t/fifo", "named pipe SKIPPED"),
        ("t/socket", "socket SKIPPED"),
    ]);
    assert_eq!(found, all, "{output}");
    assert_eq!((output.code, output.errors()), (Some(1), String::new()));
    assert!(proc::is_alive(writer.pid()));
    assert_eq!(writer.text(), "", "somebody has opened the pipe");
    stage.nobody_noticed();
}

#[test]
fn each_kind_as_a_target() {
    let stage = Stage::new();
    fifo(&stage.path("fifo"));
    let _listener = UnixListener::bind(stage.path("socket")).unwrap();
    let writer = blocked_writer(&stage.path("fifo"));
    let targets = [stage.path("fifo"), stage.path("socket")];
    let skipped =
        ["/dev/null", "/dev/zero", "/proc/version", "/proc/self/environ", "/proc", "/sys"];

    let output =
        stage.scan(targets.iter().map(|path| path.as_path()).chain(skipped.map(Path::new)));

    let all = expected(&[
        ("fifo", "named pipe SKIPPED"),
        ("socket", "socket SKIPPED"),
        ("/dev/null", "device SKIPPED"),
        ("/dev/zero", "device SKIPPED"),
        ("/proc/version", "pseudo file system SKIPPED"),
        ("/proc/self/environ", "pseudo file system SKIPPED"),
        ("/proc", "pseudo file system SKIPPED"),
        ("/sys", "pseudo file system SKIPPED"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
    assert_eq!(output.code, Some(0));
    assert_eq!(writer.text(), "", "somebody has opened the pipe");
    stage.nobody_noticed();
}

#[test]
fn what_may_not_be_read_is_denied_and_its_neighbours_are_scanned() {
    require_root!();
    let stage = Stage::new();
    files::own(&stage.env.file("t/secret", NEEDLE), 0, 0, 0o600);
    let _ = stage.env.file("t/closed/inside", NEEDLE);
    files::own(&stage.path("t/closed"), 0, 0, 0o711);
    let _ = stage.env.file("t/clean", b"hay");
    for (name, kind) in [("t/char", SFlag::S_IFCHR), ("t/block", SFlag::S_IFBLK)] {
        // Numbers of no driver: opening one would be an error of its own kind.
        mknod(&stage.path(name), kind, Mode::from_bits_truncate(0o666), makedev(250, 77)).unwrap();
        fs::set_permissions(stage.path(name), fs::Permissions::from_mode(0o666)).unwrap();
    }

    let output = stage.scan([stage.path("t"), stage.path("t/secret"), stage.path("t/closed/no")]);

    let mut lines: Vec<&str> = output.stdout.split(|byte| *byte == b'\n').map(text).collect();
    lines.sort_unstable();
    let base = stage.env.dir().display();
    let all = [
        String::new(),
        format!("{base}/t/block: device SKIPPED"),
        format!("{base}/t/char: device SKIPPED"),
        format!("{base}/t/clean: OK"),
        format!("{base}/t/closed/no: No such file or directory ERROR"),
        format!("{base}/t/closed: permission denied DENIED"),
        format!("{base}/t/secret: permission denied DENIED"),
        format!("{base}/t/secret: permission denied DENIED"),
    ];
    assert_eq!(lines, all, "{output}");
    assert_eq!(output.code, Some(2));
    stage.nobody_noticed();
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn links_are_followed_only_when_that_is_asked_for() {
    let stage = Stage::new();
    let _ = stage.env.file("t/a/found", NEEDLE);
    let _ = stage.env.file("outside/also", NEEDLE);
    symlink("../..", stage.path("t/a/up")).unwrap();
    symlink(".", stage.path("t/self")).unwrap();
    symlink("x", stage.path("t/y")).unwrap();
    symlink("y", stage.path("t/x")).unwrap();
    symlink(stage.path("outside"), stage.path("t/out")).unwrap();
    symlink("nowhere", stage.path("t/dangling")).unwrap();
    symlink("/proc/version", stage.path("t/proc")).unwrap();

    let output = stage.scan([stage.path("t")]);
    let link = "symbolic link SKIPPED";
    let all = expected(&[
        ("t/a/found", "Needle FOUND"),
        ("t/a/up", link),
        ("t/self", link),
        ("t/x", link),
        ("t/y", link),
        ("t/out", link),
        ("t/dangling", link),
        ("t/proc", link),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
    assert_eq!(output.code, Some(1));

    // `up` leads out of the tree and by another name into it again, then the loop is seen.
    fs::remove_file(stage.path("t/a/up")).unwrap();
    symlink("..", stage.path("t/a/up")).unwrap();
    let output = stage.scan(["-L".as_ref(), stage.path("t").as_path()]);
    let turned = "directory loop SKIPPED";
    let all = expected(&[
        ("t/a/found", "Needle FOUND"),
        ("t/a/up", turned),
        ("t/self", turned),
        ("t/x", turned),
        ("t/y", turned),
        ("t/out/also", "Needle FOUND"),
        ("t/dangling", "No such file or directory ERROR"),
        ("t/proc", "pseudo file system SKIPPED"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
    assert_eq!(output.code, Some(1));
}

#[test]
fn a_target_that_is_a_link_is_followed() {
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    symlink("t", stage.path("to-directory")).unwrap();
    symlink("t/found", stage.path("to-file")).unwrap();
    symlink("round", stage.path("round")).unwrap();
    let targets = ["to-directory", "to-file", "round"].map(|name| stage.path(name));
    let output = stage.scan(targets);
    let all = expected(&[
        ("to-directory/found", "Needle FOUND"),
        ("to-file", "Needle FOUND"),
        ("round", "Too many symbolic links encountered ERROR"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}
