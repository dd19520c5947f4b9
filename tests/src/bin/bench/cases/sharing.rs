//! Several callers at once, each a user of its own.

use std::cell::RefCell;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fdbroker_common::client::Client;

use super::Row;
use super::one::request;
use crate::Settings;
use crate::measure::{Contender, Measured, Samples, interleave};
use crate::stage::Stage;
use crate::trees::{DIRECTORIES, FILES, FILES_EACH};

/// Longer than a worker is kept when others wait.
const REQUESTS: usize = 2000;
const FIRST_UID: u32 = 3000;

fn as_user(mut command: Command, uid: u32) -> Command {
    command.uid(uid).gid(uid).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The latency of small requests, with and without two callers who scan trees.
pub fn while_others_scan(stage: &Stage, settings: &Settings) -> Vec<Row> {
    const CASE: &str = "that request while two others scan trees";
    let (file, tree) = (stage.file(), stage.tree());
    let mut client = Client::connect(stage.one().runtime()).expect("a broker");
    let (mut idle, mut busy) = (Samples::default(), Samples::default());
    let mut ask = |samples: &mut Samples| {
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            request(&mut client, &file);
            samples.push(begun.elapsed());
        }
    };
    ask(&mut Samples::default());
    for _ in 0..settings.runs {
        ask(&mut idle);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for uid in [FIRST_UID, FIRST_UID + 1] {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let mut command = as_user(stage.fdscan(stage.one()), uid);
                        let status = command.arg("-i").arg(tree).status().expect("fdscan");
                        assert!(status.success(), "{status}");
                    }
                });
            }
            // Both hold workers by then.
            std::thread::sleep(Duration::from_millis(100));
            ask(&mut busy);
            stop.store(true, Ordering::Relaxed);
        });
    }
    let row = |against, target, share| {
        let measured = Measured::times(busy.quantile(share), idle.quantile(share));
        Row::new(CASE, against, target, Ok(measured))
    };
    vec![
        row("the same, broker idle, median", Some(4.0), 0.5),
        row("the same, 99th percentile", None, 0.99),
    ]
}

/// 200 callers who scan 100 files each, and one who scans them all: all as root, and each as a user of its own.
pub fn many_callers(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let root = ["200 callers at once, 100 files each", "one caller, the same 20,000 files"];
    let users = ["200 users at once, 100 files each", "one user, the same 20,000 files"];
    let mut rows = callers(stage, settings, root, Some(1.5), |_| 0);
    rows.extend(callers(stage, settings, users, None, |nth| FIRST_UID + nth));
    rows
}

fn callers(
    stage: &Stage,
    settings: &Settings,
    [case, against]: [&'static str; 2],
    target: Option<f64>,
    uid: fn(u32) -> u32,
) -> Vec<Row> {
    let tree = stage.tree();
    let scan = |directory: &std::path::Path, uid: u32, expected: usize| -> Scan {
        let mut command = as_user(stage.fdscan(stage.one()), uid);
        let child =
            command.arg("-i").arg(directory).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Scan { child: child.expect("fdscan"), expected }
    };
    let failed = RefCell::new(None);
    let all = Contender::new(|| {
        let begun = Instant::now();
        let nth = |nth: usize| uid(u32::try_from(nth).unwrap_or(0));
        let scans: Vec<Scan> = (0..DIRECTORIES)
            .map(|number| scan(&tree.join(format!("{number:04}")), nth(number), FILES_EACH))
            .collect();
        for scan in scans {
            if let Err(error) = scan.finish() {
                failed.replace(Some(error));
            }
        }
        begun.elapsed()
    });
    let one = Contender::new(|| {
        let begun = Instant::now();
        scan(tree, uid(0), FILES).finish().expect("one caller");
        begun.elapsed()
    });
    let samples = interleave(settings.runs, vec![all, one, Contender::new(nothing)], || ());
    let failed = failed.take();
    let row = |against, target, other: &Samples| {
        let measured = || Measured::medians(&samples[0], other);
        Row::new(case, against, target, failed.clone().map_or_else(|| Ok(measured()), Err))
    };
    vec![row(against, target, &samples[1]), row("200 processes that do nothing", None, &samples[2])]
}

/// As many processes as there are callers, at once.
fn nothing() -> Duration {
    let begun = Instant::now();
    let start = |_| as_user(Command::new("/bin/true"), 0).spawn().expect("true");
    let all: Vec<Child> = (0..DIRECTORIES).map(start).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().expect("true").success()));
    begun.elapsed()
}

struct Scan {
    child: Child,
    expected: usize,
}

impl Scan {
    /// Waits for the end, and sees that every file was judged.
    fn finish(self) -> Result<(), String> {
        let output = self.child.wait_with_output().expect("fdscan");
        let text = String::from_utf8_lossy(&output.stdout);
        let clean = text.lines().find_map(|line| line.strip_prefix("Clean:")?.trim().parse().ok());
        let errors = String::from_utf8_lossy(&output.stderr);
        let seen = (output.status.code(), clean);
        let right = seen == (Some(0), Some(self.expected));
        right.then_some(()).ok_or_else(|| format!("FAILED: {seen:?} {}", errors.trim()))
    }
}
