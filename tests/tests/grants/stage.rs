//! What the tests share: a broker with a policy, a granted tree, and something beside it that nobody was granted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fdbroker_common::client::{Client, Event, Report, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::paths::GRANTED_SOCKET;
use fdbroker_tests::files::{self, EICAR, Scratch};
use fdbroker_tests::{Caller, Connection, Env, EnvBuilder, Output};

pub const FOUND: &str = "EICAR_Test_File FOUND";
pub const DENIED: &str = "permission denied DENIED";
pub const OTHER_MOUNT: &str = "other file system SKIPPED";

/// Who has the grant of [`Stage::new`].
pub const GRANTED: u32 = 2000;

pub type Outcomes = BTreeMap<String, String>;

pub struct Stage {
    pub env: Env,
    scratch: Scratch,
}

impl Stage {
    /// User 2000 is granted `tree` but for `tree/private`.
    pub fn new() -> Self {
        Self::with(
            "[[grant]]\nusers = [2000]\ntrees = [\"DIR/tree\"]\nexcept = [\"DIR/tree/private\"]\n",
        )
    }

    /// With this policy, in which `DIR` stands for the directory of the test.
    pub fn with(policy: &str) -> Self {
        Self::with_directories(policy, &[])
    }

    /// The same; these directories are there when the broker starts, as trees must be.
    pub fn with_directories(policy: &str, names: &[&str]) -> Self {
        Self::started(policy, names, EnvBuilder::start_spawned)
    }

    /// The same with a scanner that misbehaves on demand.
    pub fn faulty(policy: &str) -> Self {
        Self::started(policy, &[], |env| {
            env.scanner_program("examples/fdscand-faults").start_separate()
        })
    }

    fn started(policy: &str, names: &[&str], start: impl FnOnce(EnvBuilder) -> Env) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.path().to_str().expect("text").to_owned();
        let configuration = scratch.path().join("fdbroker.toml");
        files::write(&configuration, policy.replace("DIR", &directory).as_bytes());
        for name in ["tree"].iter().chain(names) {
            fs::create_dir_all(scratch.path().join(name)).expect("mkdir");
        }
        let env = start(Env::build().broker_arg("--config").broker_arg(&configuration));
        Self { env, scratch }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A file that only root may read.
    pub fn secret(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        files::write(&path, contents);
        files::own(&path, 0, 0, 0o600);
        path
    }

    pub fn link(&self, target: &Path, name: &str) {
        symlink(target, self.path(name)).expect("symlink");
    }

    pub fn fdscan(&self, caller: &Caller, paths: &[PathBuf]) -> Output {
        self.env.fdscan(caller, [PathBuf::from("--no-summary")].iter().chain(paths))
    }

    /// `fdscan --granted`.
    pub fn granted(&self, caller: &Caller, paths: &[PathBuf]) -> Output {
        let options = ["--granted", "--no-summary"].map(PathBuf::from);
        self.env.fdscan(caller, options.iter().chain(paths))
    }

    /// Outcomes by path below the directory of the test; each must have one.
    #[track_caller]
    pub fn outcomes(&self, output: &Output) -> Outcomes {
        let base = format!("{}/", self.scratch.path().display());
        let mut found = BTreeMap::new();
        for line in output.text().lines() {
            let (path, outcome) = line.rsplit_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            let path = path.strip_prefix(&base).unwrap_or(path);
            let before = found.insert(path.to_owned(), outcome.to_owned());
            assert_eq!(before, None, "{path} has two outcomes: {output}");
        }
        found
    }

    /// A connection to the socket for grants.
    #[track_caller]
    pub fn connect(&self, caller: &Caller) -> Connection {
        let socket = self.env.runtime().join(GRANTED_SOCKET);
        Connection::open(caller, &socket).expect("a connection")
    }
}

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

/// A user is served whatever they own: the broker is well.
#[track_caller]
pub fn is_served(stage: &Stage, caller: &Caller) {
    let file = stage.path("everybodys");
    files::write(&file, EICAR);
    let output = stage.fdscan(caller, &[file]).expect_code(1);
    assert!(output.text().contains(FOUND), "{output}");
}
