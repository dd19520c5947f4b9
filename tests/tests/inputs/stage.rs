//! What the tests share: a broker with one rule, a user, and outcomes as a map.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker_tests::env::EnvBuilder;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, Output, Program, skip};

/// What [`RULE`] finds.
pub const NEEDLE: &[u8] = b"some hay, a needle, more hay\n";
/// The rule of most tests.
pub const RULE: &str = "rule Needle { strings: $a = \"a needle\" condition: $a }";
/// An ordinary user, and another one.
pub const USERS: [u32; 2] = [2000, 2001];

/// A broker, and who uses it.
pub struct Stage {
    /// The broker.
    pub env: Env,
    /// Its client.
    pub caller: Caller,
}

impl Stage {
    /// With [`RULE`] alone.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With [`RULE`] and these rule files.
    pub fn with(rules: &[(&str, &str)]) -> Self {
        let env = rules
            .iter()
            .fold(Env::build().rule("needle.yar", RULE), |env, (name, text)| env.rule(name, text));
        Self::started(env)
    }

    /// Starts what was built.
    pub fn started(env: EnvBuilder) -> Self {
        if skip::is_root() {
            Self { env: env.start_spawned(), caller: Caller::user(USERS[0]) }
        } else {
            let caller = Caller::own();
            Self { env: env.start_rootless(caller.uid), caller }
        }
    }

    /// A path below the directory of this test.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.env.dir().join(Path::new(name.as_ref()))
    }

    /// `fdscan --no-summary` with these arguments, as the user.
    #[track_caller]
    pub fn scan<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.fdscan().args(arguments).output()
    }

    /// The same, to be completed.
    pub fn fdscan(&self) -> Program {
        self.env.fdscan_program(&self.caller).arg("--no-summary")
    }

    /// Outcomes by path below the directory of this test.
    #[track_caller]
    pub fn outcomes(&self, output: &Output) -> BTreeMap<String, String> {
        outcomes(&output.text(), self.env.dir())
    }

    /// Another user is served quickly and right, and no worker was lost so far.
    #[track_caller]
    pub fn nobody_noticed(&self) {
        assert_eq!(self.env.status().workers_lost, 0, "{}", self.env.log());
        self.others_are_served();
    }

    /// Another user is served quickly and right.
    #[track_caller]
    pub fn others_are_served(&self) {
        let other = if skip::is_root() { Caller::user(USERS[1]) } else { self.caller.clone() };
        let bad = self.env.file("other/eicar", EICAR);
        let good = self.env.file("other/good", b"harmless\n");
        let begun = Instant::now();
        let output = self.env.fdscan(&other, ["--no-summary".as_ref(), bad.as_path(), &good]);
        let found = outcomes(&output.text(), &self.path("other"));
        assert_eq!(found, expected(&[("eicar", "EICAR_Test_File FOUND"), ("good", "OK")]));
        assert_eq!(output.code, Some(1));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

/// Outcomes by path, which is cut at the front by `base`. Each path must have one outcome.
#[track_caller]
pub fn outcomes(text: &str, base: &Path) -> BTreeMap<String, String> {
    let base = format!("{}/", base.display());
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let (path, outcome) = line.rsplit_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        let path = path.strip_prefix(&base).unwrap_or(path);
        let before = found.insert(path.to_owned(), outcome.to_owned());
        assert_eq!(before, None, "{path} has two outcomes:\n{text}");
    }
    found
}

/// What [`outcomes`] is to be.
pub fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(path, outcome)| ((*path).to_owned(), (*outcome).to_owned())).collect()
}

/// The only line of standard error.
#[track_caller]
pub fn only_complaint(output: &Output) -> String {
    let errors = output.errors();
    assert_eq!(errors.lines().count(), 1, "one line on standard error:\n{output}");
    errors.trim_end().to_owned()
}
