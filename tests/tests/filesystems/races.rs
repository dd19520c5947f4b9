//! Directories and files that are exchanged with symbolic links while they are looked up. Nothing behind the
//! links is ever opened, whether the caller could or not; the inodes themselves tell, not the outcomes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use fdbroker_common::client::{Report, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Outcome, SkipReason};
use fdbroker_tests::{Caller, Watch, duration, files, require_root};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::stage::{NEEDLE, Stage, reports};

/// In an ordinary run.
const SECONDS: u64 = 2;

/// Exchanges two names for as long as it lives, and counts.
struct Exchange {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    fn start(pairs: Vec<[PathBuf; 2]>) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    for [one, other] in &pairs {
                        // What is moved may take names along that come later.
                        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
                            Ok(()) => drop(count.fetch_add(1, Ordering::Relaxed)),
                            Err(Errno::NOENT | Errno::INVAL) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("exchanges");
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Something to find outside of the tree, in `name`, which everybody or nobody but root may read.
fn secret(stage: &Stage, name: &str, modes: (u32, u32)) -> [PathBuf; 2] {
    let file = stage.env.file(&format!("{name}/file"), NEEDLE);
    let directory = stage.path(name);
    files::own(&file, 0, 0, modes.1);
    files::own(&directory, 0, 0, modes.0);
    [directory, file]
}

/// In the attacker's directory: a directory and a link to a secret one, a file and a link to a secret file,
/// each under names that are exchanged.
fn bait(tree: &Path, tag: &str, [directory, file]: &[PathBuf; 2]) -> Vec<[PathBuf; 2]> {
    let at = |name: &str| tree.join(format!("{name}-{tag}"));
    // Deep enough that the way back up is searched by names.
    let deep = at("deep").join("d/".repeat(70));
    files::write(&deep.join("file"), b"hay");
    let mut pairs = vec![("deep".to_owned(), directory)];
    for nth in 0..20 {
        let [one, other] = ["dir", "file"].map(|name| format!("{name}{nth}"));
        files::write(&at(&one).join("file"), b"hay");
        files::write(&at(&other), b"hay");
        pairs.extend([(one, directory), (other, file)]);
    }
    let pairs = pairs.into_iter().map(|(name, secret)| {
        let link = at(&format!("{name}-link"));
        symlink(secret, &link).unwrap();
        [at(&name), link]
    });
    pairs.collect()
}

/// What a caller saw of the names that are exchanged.
#[derive(Default)]
struct Seen {
    scans: u64,
    plain: u64,
    links: u64,
}

impl Seen {
    fn add(&mut self, report: &Report) {
        let path = report.path.to_str().unwrap();
        match &report.outcome {
            Outcome::Clean => self.plain += u64::from(!path.contains("-link")),
            Outcome::Skipped(SkipReason::SymbolicLink) => {
                self.links += u64::from(!path.contains("-link"));
            }
            // Where it was when it was listed it is not any more.
            Outcome::Unstable(_) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// Scans a tree again and again on one connection.
fn scan_on(stage: &Stage, caller: &Caller, tree: &Path, until: Instant) -> JoinHandle<Seen> {
    let (connection, tree) = (stage.env.connect(caller), tree.to_owned());
    std::thread::spawn(move || {
        let mut client = connection.client();
        let mut seen = Seen::default();
        while Instant::now() < until {
            let targets = vec![Target::open(&tree)];
            let reports = reports(&mut client, ScanOptions::default(), targets);
            reports.iter().for_each(|report| seen.add(report));
            seen.scans += 1;
        }
        seen
    })
}

#[test]
fn nothing_behind_a_link_that_is_exchanged_with_a_directory_or_file_is_ever_opened() {
    require_root!();
    let stage = Stage::new();
    // Where the kernel would not refuse, only the walk can; where it would, an open is still too much.
    let open = secret(&stage, "open", (0o755, 0o644));
    let closed = secret(&stage, "closed", (0o700, 0o600));
    let tree = stage.path("tree");
    let mut pairs = bait(&tree, "open", &open);
    pairs.extend(bait(&tree, "closed", &closed));
    let watch = Watch::on(open.iter().chain(&closed));

    let until = Instant::now() + duration(SECONDS);
    let exchange = Exchange::start(pairs);
    let callers = [Caller::root(), Caller::user(2000), Caller::root(), Caller::user(2001)];
    let scans = callers.each_ref().map(|caller| scan_on(&stage, caller, &tree, until));
    let seen = scans.map(|scan| scan.join().expect("only harmless outcomes"));
    let exchanges = exchange.finish();

    assert_eq!(watch.events(), Vec::<String>::new(), "a secret was opened");
    for (seen, caller) in seen.iter().zip(&callers) {
        let Seen { scans, plain, links } = seen;
        println!("uid {}: {scans} scans, {plain} plain, {links} links", caller.uid);
        assert!(*plain > 0 && *links > 0, "uid {}: one state never seen", caller.uid);
    }
    println!("{exchanges} exchanges");
    assert!(exchanges > 0);
    // The watch does see it when somebody opens them.
    for path in open.iter().chain(&closed) {
        drop(fs::File::open(path).unwrap());
        assert!(!watch.events().is_empty(), "{path:?}");
    }
    stage.comes_to_rest();
}

#[test]
fn directories_that_go_up_and_down_and_out_lead_nowhere_else() {
    require_root!();
    let stage = Stage::new();
    let [outside, _] = secret(&stage, "outside", (0o755, 0o644));
    let tree = stage.path("tree");
    for side in ["a", "b"] {
        let deep = tree.join(side).join("d/".repeat(70));
        files::write(&deep.join("file"), b"hay");
    }
    files::write(&tree.join("a/low/file"), b"hay");
    files::write(&stage.path("out/file"), b"hay");
    // Down and up in the tree, and a directory that is in it now, and outside of it then.
    let pairs = vec![
        [tree.join("a/low"), tree.join("b/d/d/d/d")],
        [tree.join("a/d/d/d"), tree.join("b/d/d")],
        [tree.join("a/d/d"), stage.path("out")],
    ];
    let watch = Watch::on([&outside]);
    let until = Instant::now() + duration(SECONDS);
    let exchange = Exchange::start(pairs);
    let callers = [Caller::root(), Caller::user(2000)];
    let scans = callers.each_ref().map(|caller| {
        let (connection, tree) = (stage.env.connect(caller), tree.clone());
        std::thread::spawn(move || {
            let mut client = connection.client();
            let mut moved = 0_u64;
            while Instant::now() < until {
                for report in
                    reports(&mut client, ScanOptions::default(), vec![Target::open(&tree)])
                {
                    // However it went on, it went on below the target.
                    assert!(report.path.starts_with(&tree), "{report:?}");
                    match report.outcome {
                        Outcome::Clean => assert!(report.path.ends_with("file")),
                        Outcome::Unstable(_) => moved += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            moved
        })
    });
    let moved = scans.map(|scan| scan.join().expect("only harmless outcomes"));
    println!("{} exchanges, moved or vanished: {moved:?}", exchange.finish());
    assert_eq!(watch.events(), Vec::<String>::new());
    stage.comes_to_rest();
}
