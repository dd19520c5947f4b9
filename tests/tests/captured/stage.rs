//! A broker without scanner, doubles that connect to it, and two callers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;

use fdbroker_common::paths;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, Output, Program, Running, proc, wait_until};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Files in the tree of each caller; enough for more than one batch.
const FILES: usize = 20;
/// Of these, which are EICAR.
const BAD: [usize; 2] = [3, 17];
const CALLERS: [u32; 2] = [2000, 2001];

/// A broker, and what its processes look like when nothing goes on.
pub struct Stage {
    pub env: Env,
    mode: String,
    /// Descriptors of each process of the broker.
    base: BTreeMap<u32, usize>,
}

impl Stage {
    /// A broker that has served both callers, with a scanner that has gone since.
    pub fn new(mode: &str) -> Self {
        let mut env = Env::build().idle();
        env.start_broker();
        let socket = env.runtime().join(paths::SCANNER_SOCKET);
        wait_until("scanner.sock", || proc::is_listening(&socket).then_some(()));
        for number in 0..FILES {
            let contents = if BAD.contains(&number) { EICAR } else { b"nothing\n" };
            let _ = env.file(&format!("tree/{number}"), contents);
        }
        let mut stage = Self { env, mode: mode.to_owned(), base: BTreeMap::new() };
        stage.serves_honestly();
        // What has just been closed at the other end is noticed a little later.
        let mut looks = 0;
        stage.base = wait_until("nothing goes on any more", || {
            let now = stage.descriptors();
            looks = if now == stage.base { looks + 1 } else { 0 };
            stage.base.clone_from(&now);
            (looks >= 10).then_some(now)
        });
        stage
    }

    /// A double of this mode, as the scanner's user.
    pub fn double(&self, mode: &str) -> Running {
        let flags = SockFlag::SOCK_CLOEXEC;
        // One end of a connection that root has made.
        let (stdin, _) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let program = Program::new("captured-scanner").caller(&Caller::nobody());
        program.arg(self.env.runtime()).arg(mode).stdin(stdin).spawn()
    }

    /// A double that has come so far that scans are served, or would be.
    #[track_caller]
    pub fn ready(&self, mode: &str) -> Running {
        let ready = "scanner ready";
        let times = self.env.broker().log().matches(ready).count() + 1;
        let double = self.double(mode);
        self.env.broker().wait_for_times(ready, times);
        double
    }

    /// The captured scanner.
    pub fn captured(&self) -> Running {
        self.ready(&self.mode)
    }

    /// The same, of which nothing is expected.
    pub fn captured_at_once(&self) -> Running {
        self.double(&self.mode)
    }

    pub fn tree(&self) -> PathBuf {
        self.env.dir().join("tree")
    }

    /// Scans of both callers that have begun.
    pub fn scans(&self, arguments: &[&str]) -> Vec<Running> {
        let scan = |uid| {
            let program = self.env.fdscan_program(&Caller::user(uid)).arg("--no-summary");
            program.args(arguments).arg(self.tree()).spawn()
        };
        CALLERS.into_iter().map(scan).collect()
    }

    /// What each scan comes to.
    pub fn finish(scans: Vec<Running>) -> Vec<Output> {
        scans.into_iter().map(Running::finish).collect()
    }

    /// Outcomes by file; each file must have one, and it is never called clean if it is EICAR.
    #[track_caller]
    pub fn outcomes(&self, output: &Output) -> BTreeMap<usize, String> {
        let mut outcomes = BTreeMap::new();
        for line in output.text().lines() {
            let (path, outcome) = line.rsplit_once(": ").expect("an outcome");
            let number = path.rsplit('/').next().and_then(|name| name.parse().ok());
            let before = outcomes.insert(number.expect("a file"), outcome.to_owned());
            assert_eq!(before, None, "{}: two outcomes\n{output}", self.mode);
        }
        for bad in BAD {
            assert_ne!(outcomes.get(&bad).map(String::as_str), Some("OK"), "{}", self.mode);
        }
        outcomes
    }

    /// Every file has the outcome that is right.
    #[track_caller]
    pub fn assert_right(&self, output: &Output) {
        let right = (0..FILES).map(|number| (number, right(number).to_owned())).collect();
        assert_eq!(self.outcomes(output), right, "{}\n{output}{}", self.mode, self.env.log());
        assert_eq!(output.code, Some(1), "{}\n{output}", self.mode);
    }

    /// Every file has an outcome, the right one or an error.
    #[track_caller]
    pub fn assert_right_or_error(&self, output: &Output) {
        let outcomes = self.outcomes(output);
        assert_eq!(outcomes.len(), FILES, "{}\n{output}{}", self.mode, self.env.log());
        for (number, outcome) in outcomes {
            let holds = outcome == right(number) || outcome.ends_with(" ERROR");
            assert!(holds, "{}: {number}: {outcome}", self.mode);
        }
    }

    /// Every file is an error.
    #[track_caller]
    pub fn assert_errors(&self, output: &Output) {
        self.assert_right_or_error(output);
        let text = output.text();
        assert!(text.lines().all(|line| line.ends_with(" ERROR")), "{}\n{output}", self.mode);
        assert_eq!(output.code, Some(2), "{}\n{output}", self.mode);
    }

    /// There is no scan, and the caller is told why.
    #[track_caller]
    pub fn assert_refused(&self, output: &Output) {
        let _ = self.outcomes(output);
        assert!(output.errors().contains("no scanner"), "{}\n{output}", self.mode);
        assert!(output.code == Some(2) || output.text().contains(" FOUND"), "{output}");
    }

    /// An honest double finds what there is.
    #[track_caller]
    pub fn serves_honestly(&self) {
        let honest = self.ready("honest");
        self.env.wait_serving();
        for output in Self::finish(self.scans(&[])) {
            self.assert_right(&output);
        }
        self.end(honest);
    }

    /// Ends a double and waits until the dispatcher has noticed.
    pub fn end(&self, mut double: Running) {
        double.signal(Signal::SIGKILL);
        double.ended_within(fdbroker_tests::PATIENCE).expect("it ends");
        wait_until("the scanner has gone", || (self.env.status().scanner_pid == 0).then_some(()));
    }

    /// The captured scanner has gone: nothing is left of it, and the next one serves.
    #[track_caller]
    pub fn assert_recovers(self, captured: Running) {
        self.end(captured);
        let mut now = BTreeMap::new();
        let same = fdbroker_tests::poll_until("", fdbroker_tests::PATIENCE / 4, || {
            now = self.descriptors();
            // An opener that was idle for long may have ended meanwhile.
            let kept = |(pid, most): (&u32, &usize)| now.get(pid).is_none_or(|count| count <= most);
            self.base.iter().all(kept).then_some(())
        });
        let (mode, base) = (&self.mode, &self.base);
        assert!(
            same.is_ok(),
            "{mode}: descriptors by process {now:?}, before {base:?}\n{}",
            self.env.log()
        );
        self.serves_honestly();
    }

    /// Of broker, dispatcher and openers, once there are no others.
    fn descriptors(&self) -> BTreeMap<u32, usize> {
        let pids: Vec<u32> = wait_until("no rule reader is left", || {
            let pids: Vec<u32> = self.env.processes().iter().map(|entry| entry.pid).collect();
            let known = ["fdbroker", "fdb-dispatcher", "fdb-auditor", "fdb-opener"];
            let is_known = |pid: &u32| {
                proc::status(*pid).is_some_and(|status| known.contains(&status.name.as_str()))
            };
            pids.iter().all(is_known).then_some(pids)
        });
        let openers = proc::named(&pids, "fdb-opener");
        // All others have a link to each opener.
        let links = |pid| if openers.contains(&pid) { 0 } else { openers.len() };
        let count = |pid| proc::descriptor_count(pid).saturating_sub(links(pid));
        pids.into_iter().map(|pid| (pid, count(pid))).collect()
    }
}

fn right(number: usize) -> &'static str {
    if BAD.contains(&number) { "EICAR_Test_File FOUND" } else { "OK" }
}

/// Plays each mode with a broker of its own, a few at a time.
pub fn each(modes: &[&str], play: impl Fn(Stage) + Sync) {
    for few in modes.chunks(4) {
        thread::scope(|scope| {
            for mode in few {
                scope.spawn(|| play(Stage::new(mode)));
            }
        });
    }
}
