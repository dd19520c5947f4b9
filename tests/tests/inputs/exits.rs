//! The exit status: a match beats everything, what could not be scanned beats clean, skipped is nothing.

use std::path::Path;

use crate::stage::{NEEDLE, Stage};

#[test]
fn the_exit_status_tells_the_worst() {
    let stage = Stage::new();
    let _ = stage.env.file("clean", b"hay");
    let _ = stage.env.file("found", NEEDLE);
    let _ = stage.env.file("large", &[b' '; 101]);
    nix::unistd::mkfifo(&stage.path("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for (names, code) in [
        (&["clean"][..], 0),
        (&["found"], 1),
        (&["gone"], 2),
        (&["large"], 2),
        (&["fifo"], 0),
        (&["clean", "fifo"], 0),
        (&["clean", "gone"], 2),
        (&["clean", "large", "fifo"], 2),
        (&["found", "gone"], 1),
        (&["gone", "large", "found", "fifo", "clean"], 1),
    ] {
        let mut arguments = vec!["--max-filesize".into(), "100".into()];
        arguments.extend(names.iter().map(|name| stage.path(name)));
        let output = stage.scan(&arguments);
        assert_eq!(output.code, Some(code), "{names:?}: {output}");
        // What is not told does not change it either.
        arguments.push("-i".into());
        assert_eq!(stage.scan(&arguments).code, Some(code), "-i {names:?}");
        arguments.push("--json".into());
        assert_eq!(stage.scan(&arguments).code, Some(code), "-i --json {names:?}");
    }
}

#[test]
fn an_empty_directory_is_clean() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("t")).unwrap();
    let output = stage.scan([Path::new("t")]);
    assert_eq!(output.code, Some(2), "not there from here");
    let output = stage.scan([stage.path("t")]);
    assert_eq!((output.code, output.text()), (Some(0), String::new()));
}
