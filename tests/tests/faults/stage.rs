//! What the tests share: a broker whose scanner misbehaves on demand, trees of known contents, and the
//! outcomes that they must have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, EnvBuilder, Output, Program};

/// The scanner with the faults; see `scanner/examples/fdscand-faults.rs`.
pub const FAULTY: &str = "examples/fdscand-faults";

/// What begins the contents of a file with a fault.
const MARK: &str = "FDBROKER-FAULT:";

/// Larger than what a worker reads with answers waiting: what came before is answered then.
pub const LARGE: usize = (1 << 20) + 1;

/// Contents with which the scanner does `fault`, of this size at least.
pub fn fault(fault: &str, size: usize) -> Vec<u8> {
    let mut contents = format!("{MARK}{fault}\n").into_bytes();
    contents.resize(contents.len().max(size), b'.');
    contents
}

/// Outcomes by name below a tree.
pub type Outcomes = BTreeMap<String, String>;

/// A broker, and the scanner with the faults.
pub struct Stage {
    pub env: Env,
}

impl Stage {
    pub fn new() -> Self {
        Self::started(Env::build())
    }

    pub fn started(env: EnvBuilder) -> Self {
        Self { env: env.scanner_program(FAULTY).start_separate() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.env.dir().join(name)
    }

    /// Harmless files and test files in one directory, and what is to be said of them.
    pub fn neighbours(&self, tree: &str, count: usize) -> Outcomes {
        let outcomes = (0..count).map(|nth| {
            let found = nth % 10 == 3;
            // Sorted as numbers or not, they come before and after what else is there.
            let name = format!("{nth:04}");
            let contents: &[u8] = if found { EICAR } else { b"harmless" };
            files::write(&self.path(tree).join(&name), contents);
            (name, if found { "EICAR_Test_File FOUND" } else { "OK" }.to_owned())
        });
        outcomes.collect()
    }

    /// `fdscan --no-summary` of a tree as this user, to be completed.
    pub fn fdscan(&self, uid: u32, tree: &str) -> Program {
        self.env.fdscan_program(&Caller::user(uid)).arg("--no-summary").arg(self.path(tree))
    }

    /// What was said of the files below a tree; of each exactly once.
    #[track_caller]
    pub fn outcomes(&self, output: &Output, tree: &str) -> Outcomes {
        let base = format!("{}/", self.path(tree).display());
        let mut outcomes = Outcomes::new();
        for line in output.text().lines() {
            let (path, outcome) = line.rsplit_once(": ").expect("a path and an outcome");
            let name = path.strip_prefix(&base).expect("below the tree");
            let before = outcomes.insert(name.to_owned(), outcome.to_owned());
            assert_eq!(before, None, "{name} has two outcomes:\n{output}");
        }
        outcomes
    }

    /// Fails the test unless these are the outcomes, and shows those that are not as they should be.
    #[track_caller]
    pub fn assert_outcomes(&self, output: &Output, tree: &str, expected: &Outcomes) {
        let found = self.outcomes(output, tree);
        let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        let wrong = names.iter().filter(|name| found.get(**name) != expected.get(**name));
        let wrong: Vec<_> =
            wrong.map(|name| (name, found.get(*name), expected.get(*name))).collect();
        assert!(wrong.is_empty(), "name, found, expected: {wrong:#?}\n{}", output.errors());
    }

    /// How many workers were lost so far, as `fdbrokerctl status --json` tells.
    #[track_caller]
    pub fn workers_lost(&self) -> u64 {
        let output = self.env.ctl(["--json", "status"]).expect_code(0);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        status["workers_lost"].as_u64().expect("a number")
    }
}
