//! Trees that are changed while they are scanned for those who have a grant. The openers may read everything in
//! the tree; what is outside of it is never opened, which the inodes themselves tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fdbroker_common::client::Target;
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Outcome, SkipReason};
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, PATIENCE, Watch, duration, require_root};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::stage::{Stage, reports};

/// In an ordinary run.
const SECONDS: u64 = 2;

/// Exchanges the pairs again and again, and adds a name to a file and takes it away again, until told.
fn disturb(pairs: &[[PathBuf; 2]], names: &[PathBuf; 2], stop: &AtomicBool) -> u64 {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for [one, other] in pairs {
            match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
                Ok(()) => count += 1,
                // What is moved may take names along that come later.
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let [outside, inside] = names;
        fs::hard_link(outside, inside).expect("link");
        fs::remove_file(inside).expect("unlink");
    }
    count
}

/// Scans the tree, and named paths in it, until then; what was seen is harmless.
fn scan(stage: &Stage, uid: u32, tree: &Path, until: Instant) -> [u64; 2] {
    let connection = stage.connect(&Caller::user(uid));
    let mut client = connection.client();
    let [mut clean, mut scans] = [0, 0];
    // A busy machine may need longer for the first file that is not just being changed.
    while Instant::now() < until || (clean == 0 && Instant::now() < until + PATIENCE) {
        let named = ["", "dir3/file", "dir3-link/secret", "file3", "name", "low/d/d/file"];
        let targets =
            named.map(|name| Target::granted(&tree.join(name).components().collect::<PathBuf>()));
        for report in reports(&mut client, ScanOptions::default(), targets.into()) {
            assert!(report.path.starts_with(tree), "{report:?}");
            match report.outcome {
                Outcome::Clean => clean += 1,
                // Moved out, or a link in its place, or gone for the moment.
                Outcome::Denied | Outcome::Unstable(_) | Outcome::Error(_) => {}
                Outcome::Skipped(SkipReason::SymbolicLink) => {}
                other => panic!("{:?}: {other:?}", report.path),
            }
        }
        scans += 1;
    }
    [scans, clean]
}

#[test]
fn nothing_outside_is_opened_while_names_are_exchanged_moved_and_linked() {
    require_root!();
    let stage = Stage::with("[[grant]]\nusers = [2000, 2001, 2002]\ntrees = [\"DIR/tree\"]\n");
    let tree = stage.path("tree");
    let secret = stage.secret("outside/secret", EICAR);
    let outside = stage.path("outside");
    let mut pairs = Vec::new();
    for nth in 0..5 {
        for (name, target) in [("dir", &outside), ("file", &secret)] {
            let [plain, link] = ["", "-link"].map(|end| tree.join(format!("{name}{nth}{end}")));
            if name == "dir" {
                files::write(&plain.join("file"), b"hay");
            } else {
                files::write(&plain, b"hay");
            }
            std::os::unix::fs::symlink(target, &link).expect("symlink");
            pairs.push([plain, link]);
        }
    }
    // Out of the tree and back, from so deep that the way up is searched; beside it lies what is secret.
    for side in ["tree/low", "tree/deep", "out"] {
        files::write(&stage.path(side).join("d/".repeat(70)).join("file"), b"hay");
    }
    let _ = stage.secret("secret", EICAR);
    let _ = stage.secret("out/secret", b"hay");
    pairs.push([stage.path("tree/low/d"), stage.path("out/d")]);
    pairs.push([stage.path("tree/low"), stage.path("tree/deep/d/d/d/d")]);
    // Its other name comes and goes: it is never without one outside.
    let names = [secret.clone(), tree.join("name")];
    let watch =
        Watch::on([outside, secret.clone(), stage.path("secret"), stage.path("out/secret")]);

    let until = Instant::now() + duration(SECONDS);
    let (stop, exchanged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| exchanged.store(disturb(&pairs, &names, &stop), Ordering::Relaxed));
        let scans = [2000, 2001, 2002].map(|uid| {
            let (stage, tree) = (&stage, &tree);
            scope.spawn(move || scan(stage, uid, tree, until))
        });
        for scan in scans {
            let told = scan.join();
            stop.store(true, Ordering::Relaxed);
            let [scans, clean] = told.expect("only harmless outcomes");
            println!("{scans} scans, {clean} clean");
            assert!(clean > 0);
        }
    });
    let exchanged = exchanged.into_inner();
    println!("{exchanged} exchanges");
    assert!(exchanged > 0);
    let opened = watch.events();
    assert_eq!(opened, Vec::<String>::new(), "something outside was opened");
    drop(fs::File::open(&secret).expect("root may"));
    assert!(!watch.events().is_empty(), "the watch sees it");
}
