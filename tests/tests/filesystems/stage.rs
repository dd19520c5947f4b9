//! What the tests share: a broker with one rule, outcomes by path, and whether everything is back at rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_common::client::{Client, Event, Report, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_tests::fuse::Table;
use fdbroker_tests::{Caller, Env, EnvBuilder, Fuse, Output, PATIENCE, poll_until, proc};

/// What the rule finds.
pub const NEEDLE: &[u8] = b"some hay, a needle, more hay\n";
pub const FOUND: &str = "Needle FOUND";
const RULE: &str = "rule Needle { strings: $a = \"a needle\" condition: $a }";

/// Outcomes by path below some directory.
pub type Outcomes = BTreeMap<String, String>;

/// A broker that was served from once, and what it had open then.
pub struct Stage {
    pub env: Env,
    descriptors: [usize; 2],
}

impl Stage {
    pub fn new() -> Self {
        Self::build(|env| env)
    }

    pub fn build(choices: impl FnOnce(EnvBuilder) -> EnvBuilder) -> Self {
        let env = choices(Env::build().rule("needle.yar", RULE)).start_spawned();
        let mut stage = Self { env, descriptors: [0, 0] };
        stage.is_served(2999);
        stage.descriptors = poll_until("rest", PATIENCE, || stage.at_rest()).expect("rest");
        stage
    }

    /// Mounts a FUSE file system below the directory of the test, or says why that is not possible.
    pub fn fuse(&self, name: &str, table: Table) -> Result<Fuse, String> {
        let at = self.path(name);
        fs::create_dir(&at).expect("mkdir");
        Fuse::mount(&at, table)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.env.dir().join(name)
    }

    /// The user is served, and right.
    #[track_caller]
    pub fn is_served(&self, uid: u32) {
        let files = [self.env.file("other/found", NEEDLE), self.env.file("other/clean", b"hay")];
        let arguments = files.iter().map(|path| path.as_os_str()).chain(["--no-summary".as_ref()]);
        let output = self.env.fdscan(&Caller::user(uid), arguments).expect_code(1);
        let expected = expected(&[("clean", "OK"), ("found", FOUND)]);
        assert_eq!(outcomes(&output, &self.path("other")), expected, "{output}");
    }

    /// Descriptors of broker and dispatcher without those for openers, if nothing goes on.
    fn at_rest(&self) -> Option<[usize; 2]> {
        let status = self.env.status();
        let busy = status.openers.iter().any(|opener| opener.busy) || status.workers_lent > 0;
        let openers = self.env.named("fdb-opener").len();
        let blocked = self.env.processes().iter().any(|entry| matches!(entry.state, 'D' | 'Z'));
        let workers = self.env.named("fdscand-worker").len();
        if busy
            || blocked
            || openers != status.openers.len()
            || status.workers != status.workers_max
            || workers != status.workers as usize
        {
            return None;
        }
        let count = |pid| proc::descriptor_count(pid).checked_sub(openers);
        Some([count(status.broker_pid)?, count(status.dispatcher_pid)?])
    }

    /// Waits until nobody is served, nothing hangs, and no more descriptors are open than at the start.
    #[track_caller]
    pub fn comes_to_rest(&self) {
        let settled = poll_until("rest", PATIENCE, || {
            // A worker may be on its way, or the connection that asked for the status.
            self.at_rest().filter(|now| {
                now[0] <= self.descriptors[0] + 1 && now[1] <= self.descriptors[1] + 1
            })
        });
        let pids: Vec<u32> = self.env.processes().iter().map(|entry| entry.pid).collect();
        assert!(
            settled.is_ok(),
            "{settled:?}: {:?} at the start; now {:#?}\n{}",
            self.descriptors,
            self.env.status(),
            proc::describe(&pids)
        );
    }
}

/// Outcomes by path; each path must have one.
#[track_caller]
pub fn outcomes(output: &Output, base: &Path) -> Outcomes {
    let base = format!("{}/", base.display());
    let mut found = BTreeMap::new();
    for line in output.text().lines() {
        let (path, outcome) = line.rsplit_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        let path = path.strip_prefix(&base).unwrap_or(path);
        let before = found.insert(path.to_owned(), outcome.to_owned());
        assert_eq!(before, None, "{path} has two outcomes: {output}");
    }
    found
}

/// What [`outcomes`] is to be.
pub fn expected(pairs: &[(&str, &str)]) -> Outcomes {
    pairs.iter().map(|(path, outcome)| ((*path).to_owned(), (*outcome).to_owned())).collect()
}

/// All reports of a scan of these targets.
#[track_caller]
pub fn reports(client: &mut Client, options: ScanOptions, targets: Vec<Target>) -> Vec<Report> {
    let mut scan = client.scan(options, targets.into_iter());
    let mut reports = Vec::new();
    for event in &mut scan {
        if let Event::Report(report) = event.expect("a scan") {
            reports.push(report);
        }
    }
    assert!(scan.is_finished());
    reports
}
