//! Directories that are large or grow, names of any bytes, and files that claim to be large.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fdbroker_common::client::Target;
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;
use fdbroker_tests::{Caller, files, proc, require_root};

use crate::mounts::Mounts;
use crate::stage::{NEEDLE, Stage, expected, outcomes, reports};

/// The most memory so far of the one opener, in KiB.
fn peak(stage: &Stage) -> u64 {
    let openers = stage.env.named("fdb-opener");
    let peaks = openers.into_iter().filter_map(proc::status);
    // That of the user who was served first of all is there, too.
    let own = peaks.filter(|status| status.uids.first() == Some(&2000));
    own.map(|status| status.peak_kib).max().expect("an opener")
}

#[test]
fn two_hundred_thousand_entries_in_one_directory_need_no_more_memory_than_two_thousand() {
    require_root!();
    let stage = Stage::new();
    let mut mounts = Mounts::default();
    mounts.memory(&stage.path("m"));
    let fill = |name: &str, links: usize| {
        // What costs nothing to make and to look at; files among them, which cost.
        let directory = stage.path("m").join(name);
        files::write(&directory.join("found"), NEEDLE);
        for nth in 0..links {
            symlink("found", directory.join(format!("{nth:0>60}"))).expect("symlink");
        }
        for nth in 0..500 {
            files::write(&directory.join(format!("file-{nth}")), b"hay");
        }
        directory
    };
    let scan = |directory: &Path| {
        let output = stage.env.fdscan(&Caller::user(2000), ["-i".as_ref(), directory]);
        assert_eq!(output.code, Some(1), "{output}");
        output.line("Skipped:")
    };
    let (few, many) = (fill("few", 1_500), fill("many", 200_000));
    assert_eq!(scan(&few).as_deref(), Some("Skipped:    1500"));
    let before = peak(&stage);
    assert_eq!(scan(&many).as_deref(), Some("Skipped:    200000"));
    let after = peak(&stage);
    println!("peak of the opener: {before} KiB after 2,000 entries, {after} KiB after 200,000");
    assert!(after <= before + 1024, "{before} KiB became {after}");
    stage.comes_to_rest();
}

#[test]
fn a_directory_that_grows_while_it_is_listed_comes_to_an_end_and_misses_nothing() {
    require_root!();
    let stage = Stage::new();
    let mut mounts = Mounts::default();
    let tree = stage.path("t");
    mounts.memory(&tree);
    let old: BTreeSet<String> = (0..3_000).map(|nth| format!("old-{nth:0>100}")).collect();
    old.iter().for_each(|name| files::write(&tree.join(name), b"hay"));
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (grown, found) = std::thread::scope(|scope| {
        let growth = scope.spawn(|| {
            let mut grown = 0;
            while !done.load(Ordering::Relaxed) && grown < 50_000 {
                symlink("x", tree.join(format!("new-{grown:0>100}"))).expect("symlink");
                grown += 1;
                begun.store(true, Ordering::Relaxed);
            }
            grown
        });
        fdbroker_tests::wait_until("growth", || begun.load(Ordering::Relaxed).then_some(()));
        let connection = stage.env.connect(&Caller::user(2000));
        let targets = vec![Target::open(&tree)];
        let found = reports(&mut connection.client(), ScanOptions::default(), targets);
        done.store(true, Ordering::Relaxed);
        (growth.join().expect("growth"), found)
    });
    let mut seen = BTreeSet::new();
    for report in &found {
        let name = report.path.file_name().and_then(OsStr::to_str).expect("a name");
        assert!(seen.insert(name), "{name} was told twice");
        if name.starts_with("old-") {
            assert_eq!(report.outcome, Outcome::Clean, "{name}");
        }
    }
    println!("{grown} more, of which {} were seen", seen.len() - old.len());
    assert!(old.iter().all(|name| seen.contains(name.as_str())), "something was missed");
    stage.comes_to_rest();
}

#[test]
fn a_name_may_have_any_byte() {
    require_root!();
    let stage = Stage::new();
    // All of them in one name, but for the two that no name has, and each of them alone.
    let whole: Vec<u8> = (1..=u8::MAX).filter(|byte| *byte != b'/').collect();
    let mut names: BTreeSet<Vec<u8>> = whole.iter().map(|byte| vec![*byte]).collect();
    // "." is a name of another kind.
    names.remove(&vec![b'.']);
    names.insert(whole);
    let tree = stage.path("t");
    for name in &names {
        files::write(&tree.join(OsStr::from_bytes(name)), NEEDLE);
    }
    let connection = stage.env.connect(&Caller::user(2000));
    let targets = vec![Target::open(&tree)];
    let found = reports(&mut connection.client(), ScanOptions::default(), targets);
    let told: BTreeSet<Vec<u8>> = found
        .iter()
        .map(|report| {
            assert!(matches!(report.outcome, Outcome::Match { .. }), "{report:?}");
            report.path.strip_prefix(&tree).expect("below").as_os_str().as_bytes().to_vec()
        })
        .collect();
    drop(connection);
    assert_eq!(found.len(), names.len());
    assert_eq!(told, names);
    stage.comes_to_rest();
}

#[test]
fn a_sparse_file_just_within_the_limit_is_read_to_its_end() {
    require_root!();
    let stage = Stage::new();
    let limit = 200 << 20;
    for (name, size) in [("within", limit), ("beyond", limit + 1)] {
        let path = stage.env.file(&format!("t/{name}"), b"");
        File::options().write(true).open(path).and_then(|file| file.set_len(size)).expect("sparse");
    }
    let tree = stage.path("t");
    let arguments = ["--no-summary", "--max-filesize", "200M"].map(OsStr::new);
    let output =
        stage.env.fdscan(&Caller::user(2000), arguments.iter().copied().chain([tree.as_os_str()]));
    let beyond = format!("size limit, 0 of {} bytes read INCOMPLETE", limit + 1);
    let all = expected(&[("within", "OK"), ("beyond", &beyond)]);
    assert_eq!(outcomes(&output, &tree), all, "{output}");
    assert!(fs::metadata(tree.join("within")).unwrap().blocks() < 100, "it was not sparse");
    stage.comes_to_rest();
}
