//! FUSE servers that do not answer the opener: it hangs in the kernel, beyond any signal. It is one opener of
//! one caller; what it has not scanned is never clean, and everybody else goes on, that caller too.

use std::time::{Duration, Instant};

use fdbroker_common::client::{ClientError, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::limits::{OPENER_SILENCE_MAX, OPENERS_PER_UID_MAX};
use fdbroker_tests::fuse::{Ask, Node, Table};
use fdbroker_tests::{Caller, PATIENCE, Running, duration, env, poll_until, proc, require_root};
use fdbroker_tests::{skip, wait_until};
use nix::sys::signal::Signal;

use crate::stage::{FOUND, NEEDLE, Stage, expected, outcomes};

fn table() -> Table {
    vec![
        ("a", Node::File(b"hay".into())),
        ("sub", Node::Directory),
        ("sub/b", Node::File(NEEDLE.into())),
    ]
}

/// One whose first request that is not answered comes from the opener, not from fdscan.
const SILENCES: [(Ask, &str); 7] = [
    (Ask::Lookup, "a"),
    (Ask::Lookup, "sub/b"),
    (Ask::Getattr, "a"),
    (Ask::Open, "a"),
    (Ask::Opendir, "sub"),
    (Ask::Readdir, "sub"),
    (Ask::Statfs, ""),
];

fn scan(stage: &Stage, uid: u32, name: &str) -> Running {
    let fdscan = stage.env.fdscan_program(&Caller::user(uid)).arg("--no-summary");
    fdscan.arg(stage.path(name)).spawn()
}

#[test]
fn whatever_the_server_keeps_silent_about_only_that_scan_waits() {
    require_root!();
    let stage = Stage::new();
    for (nth, (ask, path)) in SILENCES.into_iter().enumerate() {
        let what = format!("{ask:?} of {path:?}");
        let name = format!("t{nth}");
        let mut fuse = match stage.fuse(&name, table()) {
            Ok(fuse) => fuse,
            Err(reason) => skip!("{reason}"),
        };
        fuse.silence(ask, path);
        let mut fdscan = scan(&stage, 2000, &name);
        fuse.wait_unanswered(1);
        // The same user, another one, and the administrator.
        stage.is_served(2000);
        stage.is_served(2001);
        // The others are idle soon after their clients have ended.
        wait_until(&what, || {
            let busy = stage.env.status().openers.into_iter().filter(|opener| opener.busy);
            (busy.map(|opener| opener.caller_uid).collect::<Vec<_>>() == [2000]).then_some(())
        });
        assert!(fdscan.ended_within(Duration::ZERO).is_none(), "{what}: {}", fdscan.text());

        fuse.die();
        let output = fdscan.finish_within(PATIENCE).expect_code_of_error(&what);
        let found = outcomes(&output, fuse.path());
        // Once there is no server, everything that was not read before is an error.
        let about = found.get(path).or_else(|| found.get(fuse.path().to_str().unwrap()));
        let about = about.or_else(|| found.get("sub")).cloned().unwrap_or_default();
        assert!(about.ends_with("ERROR"), "{what}: {output}");
        stage.comes_to_rest();
    }
}

trait ExpectError {
    fn expect_code_of_error(self, what: &str) -> Self;
}

impl ExpectError for fdbroker_tests::Output {
    /// 2, or 1 if the needle was found before.
    #[track_caller]
    fn expect_code_of_error(self, what: &str) -> Self {
        let wanted = if self.text().contains(" FOUND") { 1 } else { 2 };
        assert_eq!(self.code, Some(wanted), "{what}: {self}");
        self
    }
}

#[test]
fn a_server_that_never_answers_is_not_even_asked_by_a_scan_of_one_file_system() {
    require_root!();
    let stage = Stage::new();
    let _ = stage.env.file("t/found", NEEDLE);
    let fuse = match stage.fuse("t/mute", table()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    for ask in [Ask::Getattr, Ask::Statfs, Ask::Opendir, Ask::Readdir] {
        fuse.silence(ask, "");
    }
    for uid in [2000, 0] {
        let fdscan = stage.env.fdscan_program(&Caller::user(uid));
        let fdscan = fdscan.args(["--no-summary", "--one-file-system"]).arg(stage.path("t"));
        let output = fdscan.output().expect_code(1);
        let all = expected(&[("found", FOUND), ("mute", "other file system SKIPPED")]);
        assert_eq!(outcomes(&output, &stage.path("t")), all, "{output}");
    }
    assert_eq!(fuse.unanswered(), 0);
    stage.comes_to_rest();
}

#[test]
fn a_client_gives_up_an_opener_that_hangs_and_says_so() {
    require_root!();
    // Half a minute: not in an ordinary run.
    if duration(0) < OPENER_SILENCE_MAX {
        skip!("needs FDBROKER_TEST_SECONDS={} or more", OPENER_SILENCE_MAX.as_secs());
    }
    let stage = Stage::new();
    let fuse = match stage.fuse("t", table()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Open, "a");
    let begun = Instant::now();
    let output = scan(&stage, 2000, "t").finish_within(OPENER_SILENCE_MAX + PATIENCE);
    assert!(begun.elapsed() >= OPENER_SILENCE_MAX);
    let output = output.expect_code_of_error("no answer");
    assert!(!output.text().contains("t/a: OK"), "{output}");
    assert!(!output.errors().is_empty(), "{output}");
    drop(fuse);
    stage.comes_to_rest();
}

#[test]
fn a_client_that_leaves_an_opener_that_hangs_leaves_nothing_else() {
    require_root!();
    // Each needs the worker that the one before holds, and does not give back when it is asked to.
    let stage = Stage::build(|env| env.broker_arg("--workers").broker_arg("1"));
    let fuse = match stage.fuse("t", table()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Open, "a");
    for count in 1..=3 {
        let mut fdscan = scan(&stage, 2000, "t");
        fuse.wait_unanswered(count);
        fdscan.signal(Signal::SIGTERM);
        fdscan.ended_within(PATIENCE).expect("the signal ends it");
    }
    // Each of them still counts against its user, and holds no more than one worker.
    let status = stage.env.status();
    assert_eq!(status.openers.iter().filter(|opener| opener.busy).count(), 3, "{status:#?}");
    assert!(status.openers.iter().all(|opener| opener.workers <= 1), "{status:#?}");
    stage.is_served(2000);
    stage.is_served(2001);
    drop(fuse);
    stage.comes_to_rest();
}

#[test]
fn openers_that_hang_are_bounded_for_each_user() {
    require_root!();
    // Each of them has a worker when it begins to hang, which must be taken from the one before.
    let stage = Stage::build(|env| env.broker_arg("--workers").broker_arg("32"));
    let fuse = match stage.fuse("t", table()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Lookup, "a");
    let caller = Caller::user(2000);
    let scans: Vec<_> = (0..OPENERS_PER_UID_MAX + 6)
        .map(|_| {
            let connection = stage.env.connect(&caller);
            let (mut client, path) = (connection.client(), fuse.path().to_owned());
            std::thread::spawn(move || {
                let targets = std::iter::once(Target::open(&path));
                let mut events = client.scan(ScanOptions::default(), targets);
                let last = events.find_map(Result::err);
                drop((events.is_finished(), connection));
                last
            })
        })
        .collect();
    let hung = || stage.env.named("fdb-opener").into_iter().filter(|pid| is_of(*pid, 2000)).count();
    // Lookups of one name in one directory wait for each other: only the first one reaches the server.
    fuse.wait_unanswered(1);
    let busy = || stage.env.status().openers.iter().filter(|opener| opener.busy).count();
    wait_until("all openers are busy", || (busy() == OPENERS_PER_UID_MAX).then_some(()));
    assert_eq!(hung(), OPENERS_PER_UID_MAX);
    // There is no opener left for this user. Others have theirs.
    stage.is_served(2001);
    stage.is_served(0);
    assert_eq!(hung(), OPENERS_PER_UID_MAX);
    drop(fuse);
    // They all find that there is no server; those that had to wait for an opener too.
    for scan in scans {
        let error: Option<ClientError> = scan.join().expect("a client");
        assert!(error.is_none(), "{error:?}");
    }
    stage.is_served(2000);
    stage.comes_to_rest();
}

fn is_of(pid: u32, uid: u32) -> bool {
    proc::status(pid).is_some_and(|status| status.uids.contains(&uid))
}

#[test]
fn a_broker_that_is_to_end_does_not_wait_for_what_hangs_and_says_so() {
    require_root!();
    let mut stage = Stage::new();
    let mut fuse = match stage.fuse("t", table()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Lookup, "a");
    let fdscan = scan(&stage, 2000, "t");
    fuse.wait_unanswered(1);
    let mut broker = stage.env.take_broker();
    broker.signal(Signal::SIGTERM);
    let status = broker.ended_within(PATIENCE).expect("the broker ends");
    assert!(status.success(), "{status}");
    broker.wait_for("may hang in the kernel");
    let left = || {
        let group = proc::group(broker.pid()).into_iter().filter(|entry| entry.state != 'Z');
        group.map(|entry| entry.pid).collect::<Vec<_>>()
    };
    // Nothing but the one that hangs, and that is to be killed.
    let hangs = poll_until("the others end", PATIENCE, || (left().len() == 1).then(left));
    let hangs = hangs.expect("one process");
    assert!(is_of(hangs[0], 2000), "{}", proc::describe(&hangs));
    fuse.die();
    env::empty_group(broker.pid()).expect("it ends with its server");
    let output = fdscan.finish_within(PATIENCE);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(!output.text().contains(": OK"), "{output}");
}
