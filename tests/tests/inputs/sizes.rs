//! Empty, exactly at a limit, over it, and far beyond anything that could be read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::stage::{NEEDLE, Stage, expected};

fn sparse(path: &Path, bytes: u64) -> bool {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).is_ok()
}

#[test]
fn the_limit_itself_is_scanned_and_one_byte_more_is_not() {
    let stage = Stage::new();
    let mut contents = b"a needle ".repeat(200);
    for (name, length) in [("under", 1023), ("at", 1024), ("over", 1025), ("empty", 0)] {
        contents.resize(length, b' ');
        let _ = stage.env.file(&format!("t/{name}"), contents.get(..length).unwrap());
        contents = b"a needle ".repeat(200);
    }
    for limit in ["1024", "1K", "1k", "1KB", "1KiB", "1024B"] {
        let output =
            stage.scan(["--max-filesize".as_ref(), limit.as_ref(), stage.path("t").as_os_str()]);
        let all = expected(&[
            ("t/under", "Needle FOUND"),
            ("t/at", "Needle FOUND"),
            ("t/over", "size limit, 0 of 1025 bytes read INCOMPLETE"),
            ("t/empty", "OK"),
        ]);
        assert_eq!(stage.outcomes(&output), all, "{limit}: {output}");
        assert_eq!(output.code, Some(1));
    }
    let args = [stage.path("t/over"), stage.path("t/empty")];
    let limit = ["--max-filesize", "1024"].map(std::path::PathBuf::from);
    let output = stage.scan(limit.iter().chain(&args));
    assert_eq!(output.code, Some(2), "incomplete is not clean: {output}");
    stage.nobody_noticed();
}

#[test]
fn larger_units_and_what_is_none() {
    let stage = Stage::new();
    let file = stage.env.file("f", NEEDLE);
    assert!(sparse(&file, (3 << 20) + 1));
    for (limit, code) in [("3M", 2), ("4M", 1), ("1G", 1), ("1T", 1), ("3145729", 1)] {
        let output = stage.scan(["--max-filesize".as_ref(), limit.as_ref(), file.as_os_str()]);
        assert_eq!(output.code, Some(code), "{limit}: {output}");
    }
    for limit in ["0", "", "1.5M", "10X", "M", "99999999999999999999"] {
        let output = stage.scan(["--max-filesize".as_ref(), limit.as_ref(), file.as_os_str()]);
        assert_eq!(output.code, Some(2), "{limit}: {output}");
        assert_eq!(output.text(), "");
        assert!(output.errors().contains("--max-filesize"), "{output}");
    }
}

#[test]
fn an_empty_file_is_clean_and_counted() {
    let stage = Stage::new();
    let file = stage.env.file("empty", b"");
    let output = stage.env.fdscan(&stage.caller, [&file]).expect_code(0);
    assert!(output.text().starts_with(&format!("{}: OK\n", file.display())), "{output}");
    assert_eq!(output.line("Files:").as_deref(), Some("Files:      1"));
    assert_eq!(output.line("Data:").as_deref(), Some("Data:       0 bytes"));
}

#[test]
fn the_largest_files_that_can_be_made_cost_nothing() {
    let stage = Stage::new();
    let huge = stage.env.file("t/huge", NEEDLE);
    // 16 TiB, or what is left of it on file systems that end a block before.
    let sizes = [16 << 40, (16 << 40) - 4096, (8 << 40) - 1, 1 << 40];
    assert!(sizes.iter().any(|size| sparse(&huge, *size)), "no sparse files here");
    let size = File::open(&huge).unwrap().metadata().unwrap().size();
    let _ = stage.env.file("t/found", NEEDLE);
    let beyond = stage.env.file("t/beyond", b"");
    assert!(sparse(&beyond, (2 << 30) + 1));

    let output = stage.scan([stage.path("t")]);

    let huge = format!("size limit, 0 of {size} bytes read INCOMPLETE");
    let all = expected(&[
        ("t/huge", huge.as_str()),
        ("t/beyond", "size limit, 0 of 2147483649 bytes read INCOMPLETE"),
        ("t/found", "Needle FOUND"),
    ]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
    stage.nobody_noticed();
}
