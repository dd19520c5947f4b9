//! Every option of `fdscan`, by what it changes.

use std::io::Write;
use std::path::{Path, PathBuf};

use fdbroker_tests::{Caller, Program, require_root, skip};
use serde_json::Value;

use crate::stage::{NEEDLE, Stage, expected};

#[test]
fn infected_prints_matches_alone_and_complaints_elsewhere() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", NEEDLE);
    let _ = stage.env.file("t/clean", b"hay");
    std::os::unix::fs::symlink("clean", stage.path("t/link")).unwrap();
    for option in ["-i", "--infected"] {
        let output = stage.scan([Path::new(option), &stage.path("t"), &stage.path("gone")]);
        assert_eq!(output.text(), format!("{}: Needle FOUND\n", found.display()));
        let gone = format!("{}: No such file or directory ERROR\n", stage.path("gone").display());
        assert_eq!(output.errors(), gone);
        assert_eq!(output.code, Some(1));
    }
    let output = stage.env.fdscan(&stage.caller, [Path::new("-i"), &stage.path("t")]);
    assert_eq!(output.line("Clean:").as_deref(), Some("Clean:      1"), "{output}");
    assert_eq!(output.line("Skipped:").as_deref(), Some("Skipped:    1"), "{output}");
}

#[test]
fn json_is_one_object_a_line_and_a_summary() {
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    let _ = stage.env.file("t/clean", b"hay");
    let _ = stage.env.file("t/large", &[b'x'; 100]);
    std::os::unix::fs::symlink("clean", stage.path("t/link")).unwrap();
    let options = ["--json", "--max-filesize", "99"].map(PathBuf::from);
    let targets = [stage.path("t"), stage.path("gone")];
    let output = stage.env.fdscan(&stage.caller, options.iter().chain(&targets)).expect_code(1);

    let mut objects: Vec<Value> =
        output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = objects.pop().unwrap()["summary"].take();
    let object = |name: &str| {
        let path = stage.path(name).display().to_string();
        let mut all = objects.iter().filter(|object| object["path"]["text"] == path.as_str());
        let object = all.next().unwrap_or_else(|| panic!("{name}: {output}"));
        assert!(all.next().is_none(), "{name} twice");
        object
    };
    assert_eq!(objects.len(), 5);
    assert!(objects.iter().all(|object| object["version"] == 1));
    let (found, large) = (object("t/found"), object("t/large"));
    assert_eq!((&found["outcome"], &found["rules"][0]), (&"match".into(), &"Needle".into()));
    assert_eq!(found["size"], NEEDLE.len());
    assert_eq!(object("t/clean")["outcome"], "clean");
    assert_eq!(large["outcome"], "incomplete");
    assert_eq!((&large["read"], &large["total"]), (&0.into(), &100.into()));
    assert_eq!(object("t/link")["outcome"], "skipped");
    assert_eq!(object("t/link")["reason"], "symbolic link");
    assert_eq!(object("gone")["outcome"], "error");
    for (count, number) in [
        ("files", 4),
        ("clean", 1),
        ("matched", 1),
        ("incomplete", 1),
        ("errors", 1),
        ("skipped", 1),
    ] {
        assert_eq!(summary[count], number, "{count}: {output}");
    }
    assert_eq!((&summary["exit_code"], &summary["rules"]), (&1.into(), &2.into()));
    assert_eq!(summary["bytes"], NEEDLE.len() + 3);
}

#[test]
fn json_without_summary_and_with_matches_alone() {
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    let _ = stage.env.file("t/clean", b"hay");
    let output = stage.scan([Path::new("--json"), Path::new("-i"), &stage.path("t")]);
    let objects: Vec<Value> =
        output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 1, "{output}");
    assert_eq!(objects[0]["outcome"], "match");
}

#[test]
fn names_come_from_a_list() {
    let stage = Stage::new();
    let _ = stage.env.file("w/found", NEEDLE);
    let _ = stage.env.file("w/sp ace", b"hay");
    let _ = stage.env.file("w/d/below", NEEDLE);
    let list = stage.env.file("list", b"found\n\nsp ace\ngone\nd");
    let all = expected(&[
        ("found", "Needle FOUND"),
        ("sp ace", "OK"),
        ("gone", "No such file or directory ERROR"),
        ("d/below", "Needle FOUND"),
    ]);
    let fdscan = || stage.fdscan().directory(&stage.path("w"));
    let output = fdscan().arg("--files-from").arg(&list).output();
    assert_eq!(stage.outcomes(&output), all, "{output}");
    let file = std::fs::File::open(&list).unwrap();
    let output = fdscan().args(["--files-from", "-"]).stdin(file).output();
    assert_eq!(stage.outcomes(&output), all, "{output}");
    // Arguments come first, then the list.
    let output = fdscan().arg("--files-from").arg(&list).arg("./found").output().expect_code(1);
    assert_eq!(stage.outcomes(&output).len(), 5);

    let list = stage.env.file("list0", b"found\0sp ace\0\0new\nline\0");
    let _ = stage.env.file("w/new\nline", NEEDLE);
    let output = fdscan().arg("-0").arg("--files-from").arg(&list).output().expect_code(1);
    let all =
        expected(&[("found", "Needle FOUND"), ("sp ace", "OK"), ("new\\nline", "Needle FOUND")]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}

#[test]
fn a_list_that_grows_is_scanned_as_it_comes() {
    let stage = Stage::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let running = stage.fdscan().args(["--files-from", "-"]).stdin(reader).spawn();
    for number in 0..3 {
        let file = stage.env.file(&format!("{number}"), NEEDLE);
        writeln!(writer, "{}", file.display()).unwrap();
        // Told before the list goes on: whoever makes the list may wait for it.
        running.wait_for_output(&format!("{}: Needle FOUND\n", file.display()));
    }
    drop(writer);
    assert_eq!(running.finish().code, Some(1));
}

#[test]
fn a_list_that_cannot_be_read_is_no_success() {
    let stage = Stage::new();
    let file = stage.env.file("clean", b"hay");
    for list in [stage.path("gone"), stage.env.dir().to_path_buf()] {
        let output = stage.scan([Path::new("--files-from"), &list, &file]);
        assert_eq!((output.code, output.text()), (Some(2), String::new()), "{output}");
        assert!(output.errors().contains("cannot read the list of files"), "{output}");
    }
    let empty = stage.env.file("empty", b"");
    let output = stage.scan([Path::new("--files-from"), &empty]);
    assert_eq!(
        (output.code, output.text(), output.errors()),
        (Some(0), String::new(), String::new())
    );
}

#[test]
fn patterns_exclude_names_paths_and_directories() {
    let stage = Stage::new();
    for name in ["a.o", "a.c", "d/b.o", "d/b.c", "d/cache/x", "e/cache/y", "e/z"] {
        let _ = stage.env.file(&format!("t/{name}"), NEEDLE);
    }
    let base = stage.path("t").display().to_string();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["*.o"], &["a.o", "d/b.o"]),
        (&["cache"], &["d/cache", "e/cache"]),
        (&["cache/"], &["d/cache", "e/cache"]),
        (&["{base}/d/*.o"], &["d/b.o"]),
        (&["**/e/*"], &["e/cache", "e/z"]),
        (&["*.{o,c}", "e"], &["a.o", "a.c", "d/b.o", "d/b.c", "e"]),
        (&["{base}/e/cache"], &["e/cache"]),
    ];
    for (patterns, skipped) in cases {
        let mut arguments = vec![base.clone()];
        for pattern in patterns {
            arguments.extend(["--exclude".to_owned(), pattern.replace("{base}", &base)]);
        }
        let output = stage.scan(&arguments);
        for (path, outcome) in stage.outcomes(&output) {
            let name = path.strip_prefix("t/").unwrap();
            let excluded = skipped.contains(&name);
            let outcome_expected = if excluded { "excluded SKIPPED" } else { "Needle FOUND" };
            assert_eq!(outcome, outcome_expected, "{patterns:?}: {output}");
        }
        let told = stage.outcomes(&output);
        assert!(skipped.iter().all(|name| told.contains_key(&format!("t/{name}"))), "{output}");
    }
    let output = stage.scan(["--exclude", "t", &base]).expect_code(0);
    assert_eq!(stage.outcomes(&output), expected(&[("t", "excluded SKIPPED")]));
    for malformed in ["[a", "{a", "", "!x"] {
        let output = stage.scan(["--exclude", malformed, &base]);
        assert_eq!((output.code, output.text()), (Some(2), String::new()), "{malformed}: {output}");
        assert!(output.errors().contains("exclude pattern"), "{output}");
    }
}

/// A file system that is unmounted in the end.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mount = Program::at(Path::new("/bin/mount"));
        let mounted = mount.args(["-t", "tmpfs", "-o", "mode=755", "none"]).arg(&path).output();
        (mounted.code == Some(0)).then_some(Self(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Program::at(Path::new("/bin/umount")).arg("-l").arg(&self.0).output();
    }
}

#[test]
fn other_file_systems_are_left_out_only_when_that_is_asked_for() {
    require_root!();
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    let Some(mounted) = Mount::tmpfs(stage.path("t/mounted")) else {
        skip::say("cannot mount a tmpfs");
        return;
    };
    let _ = stage.env.file("t/mounted/found", NEEDLE);
    std::os::unix::fs::symlink("mounted/found", stage.path("t/link")).unwrap();
    let link = ("t/link", "symbolic link SKIPPED");

    let output = stage.scan([stage.path("t")]);
    let all = expected(&[("t/found", "Needle FOUND"), ("t/mounted/found", "Needle FOUND"), link]);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    let other = "other file system SKIPPED";
    let output = stage.scan([Path::new("--one-file-system"), &stage.path("t")]);
    let all = expected(&[("t/found", "Needle FOUND"), ("t/mounted", other), link]);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    let output = stage.scan([Path::new("-L"), Path::new("--one-file-system"), &stage.path("t")]);
    let all = expected(&[("t/found", "Needle FOUND"), ("t/mounted", other), ("t/link", other)]);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    // A target decides for itself on which file system it is.
    let output = stage.scan([Path::new("--one-file-system"), &mounted.0]);
    assert_eq!(stage.outcomes(&output), expected(&[("t/mounted/found", "Needle FOUND")]));
}

#[test]
fn names_that_rules_ask_for_are_the_callers_own() {
    let rule = "rule ByName { condition: filename == \"evil.TXT\" and extension == \".txt\" }
                rule ByPath { condition: filepath endswith \"/sub/x\" }";
    let stage = Stage::with(&[("names.yar", rule)]);
    let _ = stage.env.file("t/evil.TXT", b"hay");
    let _ = stage.env.file("t/evil.txt", b"hay");
    let _ = stage.env.file("t/sub/x", NEEDLE);
    let output = stage.scan([stage.path("t")]);
    let all = expected(&[
        ("t/evil.TXT", "ByName FOUND"),
        ("t/evil.txt", "OK"),
        ("t/sub/x", "ByPath,Needle FOUND"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}

#[test]
fn help_and_version_are_no_errors() {
    for option in ["--help", "--version"] {
        let output = Program::new("fdscan").caller(&Caller::own()).arg(option).output();
        assert_eq!((output.code, output.errors()), (Some(0), String::new()));
    }
    let output = Program::new("fdscan").output();
    assert_eq!(output.code, Some(2));
    assert!(output.errors().contains("Usage"), "{output}");
}
