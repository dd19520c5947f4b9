//! A tree of which it is known what is in it, a broker, and some users who have it scanned.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use fdbroker_tests::env::EnvBuilder;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, Feed, Output, PATIENCE, poll_until, proc, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough on any machine for what is interrupted and waits for a broker.
const BOUND: Duration = Duration::from_secs(100);

/// Beginning of a file that takes long, and then turns out to be clean.
const SLOW_MARK: &[u8] = b"SLOWSLOW, but harmless\n";

/// What [`Stage::go_on`] has scanned.
const NEXT: &str = "4";

/// What is scanned first.
const FIRST: [&str; 5] = ["0", "1", "2", "3", "slow"];

fn slow_rule() -> String {
    "rule Slow { strings: $m = \"SLOWSLOW\" condition: $m at 0 and \
     for all i in (1..8000000) : (uint8(i % 8) != 0) and filesize > 1000000000000 }"
        .to_owned()
}

/// A broker and a tree.
pub struct Stage {
    pub env: Env,
    pub tree: PathBuf,
    /// Outcomes by path beneath the tree.
    pub table: BTreeMap<String, String>,
}

impl Stage {
    pub fn spawned() -> Self {
        Self::with(Env::build(), EnvBuilder::start_spawned)
    }

    pub fn separate() -> Self {
        Self::with(Env::build(), EnvBuilder::start_separate)
    }

    pub fn with(env: EnvBuilder, start: impl FnOnce(EnvBuilder) -> Env) -> Self {
        let rule = "rule Needle { strings: $a = \"a needle\" condition: $a }";
        let env = start(env.rule("needle.yar", rule).rule("slow.yar", &slow_rule()));
        let tree = env.dir().join("t");
        let table = fill(&env);
        Self { env, tree, table }
    }

    /// Begins a scan that cannot end before [`Stage::ends_right`], and waits until a part has been told.
    pub fn begin(&self, uid: u32) -> Feed {
        let fdscan = self.env.fdscan_program(&Caller::user(uid)).arg("--no-summary");
        let mut feed = Feed::start(fdscan);
        FIRST.iter().for_each(|name| feed.give(&self.tree.join(name)));
        feed.running().wait_for_output(": OK\n");
        feed
    }

    /// Gives it more to do, whatever it has done meanwhile.
    pub fn go_on(&self, feed: &mut Feed) {
        feed.give(&self.tree.join(NEXT));
    }

    /// Has the rest scanned; each file has had its one right outcome.
    #[track_caller]
    pub fn ends_right(&self, mut feed: Feed) -> Output {
        let rest = fs::read_dir(&self.tree).expect("the tree").flatten();
        let rest: Vec<_> =
            rest.map(|entry| entry.path()).filter(|path| !feed.was_given(path)).collect();
        rest.iter().for_each(|path| feed.give(path));
        let output = feed.finish_within(BOUND);
        let mut told = BTreeMap::new();
        let base = format!("{}/", self.tree.display());
        let text = output.text();
        for line in text.lines() {
            let (path, outcome) = line.rsplit_once(": ").expect("a path and an outcome");
            let path = path.strip_prefix(&base).unwrap_or(path).to_owned();
            let before = told.insert(path, outcome.to_owned());
            assert_eq!(before, None, "told twice: {line}");
        }
        assert_eq!(told, self.table, "{}{}", output.errors(), self.env.log());
        output.expect_code(1)
    }

    /// What there is once nothing goes on; the most of some looks, because a worker that stands ready may
    /// still be on its way.
    pub fn at_rest(&self) -> Rest {
        let looks = (0..20).map(|_| wait_until("rest", || self.rest()));
        looks.reduce(Rest::most).unwrap_or_default()
    }

    /// Waits until there is no more than before.
    #[track_caller]
    pub fn settles_at(&self, before: Rest) {
        let mut last = Rest::default();
        let settled = poll_until("rest", PATIENCE, || {
            last = self.rest()?;
            (last.most(before) == before).then_some(())
        });
        assert!(settled.is_ok(), "{settled:?}: {before:?} became {last:?}\n{}", self.env.log());
    }

    fn rest(&self) -> Option<Rest> {
        let status = self.env.status();
        let busy = status.openers.iter().any(|opener| opener.busy) || status.workers_lent > 0;
        let openers = self.env.named("fdb-opener").len();
        let full = status.workers == status.workers_max && openers == status.openers.len();
        let count = |pid| proc::descriptor_count(pid).checked_sub(openers);
        let rest = Rest {
            broker: count(status.broker_pid)?,
            dispatcher: count(status.dispatcher_pid)?,
            processes: self.env.processes().len().checked_sub(openers)?,
        };
        (!busy && full).then_some(rest)
    }
}

/// Descriptors of broker and dispatcher, and processes, all but for openers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    broker: usize,
    dispatcher: usize,
    processes: usize,
}

impl Rest {
    fn most(self, other: Self) -> Self {
        Self {
            broker: self.broker.max(other.broker),
            dispatcher: self.dispatcher.max(other.dispatcher),
            processes: self.processes.max(other.processes),
        }
    }
}

/// Kills some process of this name, if there is one.
pub fn kill_one(env: &Env, name: &str) -> bool {
    let pids = env.named(name);
    pids.first().and_then(|pid| i32::try_from(*pid).ok()).is_some_and(|pid| {
        // It may have ended meanwhile, but nothing else has its number so soon.
        kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
    })
}

fn fill(env: &Env) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    let mut add = |name: String, contents: &[u8], outcome: &str| {
        let path = env.file(&format!("t/{name}"), contents);
        table.insert(name, outcome.to_owned());
        path
    };
    for nth in 0..1500 {
        let name = format!("{}/{nth}", nth % 7);
        let _ = match nth % 50 {
            7 => add(name, b"hay, a needle, hay", "Needle FOUND"),
            8 => add(name, EICAR, "EICAR_Test_File FOUND"),
            9 => add(name, b"", "OK"),
            _ => add(name, b"hay and nothing else", "OK"),
        };
    }
    for nth in 0..2 {
        let _ = add(format!("slow/{nth}"), SLOW_MARK, "OK");
    }
    let denied = add("denied".to_owned(), b"secret", "permission denied DENIED");
    files::own(&denied, 0, 0, 0o600);
    let closed = add("closed".to_owned(), b"", "permission denied DENIED");
    fs::remove_file(&closed).expect("rm");
    fs::create_dir(&closed).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let link = add("5/link".to_owned(), b"", "symbolic link SKIPPED");
    fs::remove_file(&link).expect("rm");
    symlink("/etc/passwd", &link).expect("symlink");
    let sparse =
        add("sparse".to_owned(), b"", "size limit, 0 of 17592186044416 bytes read INCOMPLETE");
    let sparse = fs::File::options().write(true).open(sparse).expect("open");
    if sparse.set_len(16 << 40).is_err() {
        sparse.set_len(3 << 30).expect("truncate");
        let outcome = "size limit, 0 of 3221225472 bytes read INCOMPLETE";
        table.insert("sparse".to_owned(), outcome.to_owned());
    }
    table
}
