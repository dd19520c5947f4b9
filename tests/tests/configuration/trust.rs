//! Files that somebody else could have written, exchanged or added are refused, and nothing waits for them.

use std::fs;
use std::os::unix::fs::symlink;

use fdbroker_tests::{Caller, files, require_root};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::stage::Stage;

fn stage() -> Stage {
    let stage = Stage::new();
    stage.write("etc/fdbroker.toml", "workers = 2\n");
    stage.write("etc/conf.d/a.toml", "workers = 3\n");
    symlink("etc/fdbroker.toml", stage.path("fdbroker.toml")).expect("symlink");
    stage
}

#[test]
fn whatever_others_may_write_on_the_way_is_refused_by_its_name() {
    require_root!();
    let stage = stage();
    stage.assert_warned(&[]);
    fs::remove_file(stage.path("fdbroker.toml")).expect("unlink");
    symlink("etc/fdbroker.toml", stage.path("fdbroker.toml")).expect("symlink");
    for (name, good) in [("etc/fdbroker.toml", 0o644), ("etc", 0o755), ("", 0o755)] {
        for bad in [good | 0o020, good | 0o002] {
            files::own(&stage.path(name), 0, 0, bad);
            let output = stage.check().expect_code(2);
            let path = stage.path(name);
            let path = path.to_str().expect("UTF-8").trim_end_matches('/');
            let expected =
                format!("{path} can be written by others (mode {bad:04o}); chmod go-w it");
            assert!(output.errors().contains(&expected), "{output}");
        }
        files::own(&stage.path(name), 0, 0, good);
    }
    // With a link on the way, conf.d is looked for beside the link.
    stage.write("conf.d/a.toml", "");
    for (name, good) in [("conf.d/a.toml", 0o644), ("conf.d", 0o755)] {
        // The sticky bit does not keep others from adding files.
        for bad in [good | 0o020, good | 0o1002] {
            files::own(&stage.path(name), 0, 0, bad);
            let expected = stage.fill(&format!("%/{name} can be written by others"));
            let output = stage.check().expect_code(2);
            assert!(output.errors().contains(&expected), "{output}");
        }
        files::own(&stage.path(name), 0, 0, good);
    }
    stage.assert_warned(&[]);
}

#[test]
fn what_belongs_to_another_user_is_refused_and_the_brokers_own_user_is_not_another() {
    require_root!();
    let stage = stage();
    for name in ["etc/fdbroker.toml", "etc", "fdbroker.toml", ""] {
        std::os::unix::fs::lchown(stage.path(name), Some(2000), None).expect("chown");
        let output = stage.check().expect_code(2);
        assert!(
            output.errors().contains("belongs to uid 2000, who could exchange it"),
            "{name}: {output}"
        );
        std::os::unix::fs::lchown(stage.path(name), Some(0), None).expect("chown");
    }
    stage.give_to(2000);
    stage.check().expect_code(2);
    let check = |uid| {
        let program = stage.program(&Caller::user(uid)).args(["--check-config", "--runtime-dir"]);
        program.arg("/run/x").output()
    };
    let _ = check(2000).expect_code(0);
    let _ = check(2001).expect_code(2);
}

#[test]
fn what_is_no_regular_file_is_refused_without_being_opened() {
    let stage = Stage::new();
    let file = stage.path("fdbroker.toml");
    // To open a pipe would wait for a writer.
    mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).expect("mkfifo");
    stage.assert_refused("%/fdbroker.toml: not a regular file");
    fs::remove_file(&file).expect("unlink");
    stage.directory("fdbroker.toml");
    stage.assert_refused("%/fdbroker.toml: not a regular file");
    fs::remove_dir(&file).expect("rmdir");
    stage.assert_refused("%/fdbroker.toml: No such file or directory (os error 2)");
    stage.write("fdbroker.toml", "");
    mkfifo(&stage.directory("conf.d").join("x.toml"), Mode::S_IRUSR).expect("mkfifo");
    stage.assert_refused("%/conf.d/x.toml: not a regular file");
    fs::remove_dir_all(stage.path("conf.d")).expect("rmdir");
    stage.write("conf.d", "");
    stage.assert_refused("%/conf.d: Not a directory (os error 20)");
}

#[test]
fn files_have_bounds_and_are_text() {
    let stage = Stage::with("# nothing\n");
    fs::write(stage.path("fdbroker.toml"), vec![b'#'; (1 << 20) + 1]).expect("write");
    stage.assert_refused("%/fdbroker.toml: larger than 1 MiB; split it into files in conf.d");
    fs::write(stage.path("fdbroker.toml"), b"# \xff").expect("write");
    stage.assert_refused("%/fdbroker.toml: byte 3 is not UTF-8 text, which TOML is");
    stage.write("fdbroker.toml", "");
    for nth in 0..=128 {
        stage.write(&format!("conf.d/{nth}.toml"), "");
    }
    stage.assert_refused("%/conf.d: 129 files; at most 128 are read: join some");
    fs::remove_file(stage.path("conf.d/128.toml")).expect("unlink");
    stage.assert_warned(&[]);
}
