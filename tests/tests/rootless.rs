//! A broker of an ordinary user: for that user alone, with the same sealed workers; and the private one
//! that fdscan starts for itself and that leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::env::empty_group;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, Feed, Program, proc, require_root, skip::is_root, wait_until};
use nix::sys::signal::Signal;

/// An ordinary user: whoever runs the test, unless that is root.
fn user() -> Caller {
    if is_root() { Caller::user(2000) } else { Caller::own() }
}

#[test]
fn it_serves_its_own_user() {
    let env = Env::rootless(user().uid);
    let output = env.fdscan(&user(), [env.file("eicar", EICAR)]).expect_code(1);
    assert!(output.text().contains("FOUND"), "{output}");
    assert_eq!(env.ctl(["status"]).code, Some(0));
    let output = env.ctl(["self-test"]).expect_code(0);
    assert!(output.text().lines().count() >= 5, "{output}");
}

#[test]
fn it_serves_nobody_else() {
    require_root!();
    let Caller { uid, gid, .. } = user();
    let env = Env::rootless(uid);
    let eicar = env.file("eicar", EICAR);
    // Root can connect to any socket, but a broker of somebody else has no word on root's files.
    let output = env.fdscan(&Caller::root(), [&eicar]).expect_code(2);
    assert!(output.errors().contains("does not serve this user"), "{output}");
    assert!(!output.text().contains("eicar"), "{output}");

    let other = Caller::user(uid + 1);
    let output = env.fdscan(&other, [&eicar]).expect_code(2);
    assert!(output.errors().contains("permission denied"), "{output}");
    // Not even if the directory lets them in.
    files::own(env.runtime(), uid, gid, 0o755);
    let output = env.fdscan(&other, [&eicar]).expect_code(2);
    assert!(output.errors().contains("permission denied"), "{output}");
    assert_eq!(env.ctl_as(&other, ["status"]).code, Some(2));
}

#[test]
fn all_its_processes_are_that_user_without_capabilities() {
    let env = Env::rootless(user().uid);
    let mut feed = env.feed(&user());
    feed.scan(&env.file("clean", b"nothing"), "OK");
    for name in ["fdbroker", "fdb-dispatcher", "fdb-opener", "fdscand-templat", "fdscand-worker"] {
        let pids = env.named(name);
        assert!(!pids.is_empty(), "no {name}");
        for status in pids.into_iter().filter_map(proc::status) {
            assert_eq!(status.uids, [user().uid; 4], "{status:?}");
            assert_eq!([status.cap_prm, status.cap_eff, status.cap_inh], [0; 3], "{status:?}");
            assert_eq!((status.no_new_privs, status.seccomp), (1, 2), "{status:?}");
        }
    }
    assert_eq!(feed.finish().code, Some(0));
}

/// A place for an ordinary user whose fdscan has no broker to ask.
struct Alone {
    env: Env,
    fdscan: PathBuf,
    home: PathBuf,
    tree: PathBuf,
}

impl Alone {
    fn new() -> Self {
        let env = Env::build().idle();
        let fdscan = env.install().join("fdscan");
        let home = env.dir().join("home");
        fs::create_dir(&home).expect("mkdir");
        let Caller { uid, gid, .. } = user();
        files::own(&home, uid, gid, 0o700);
        let tree = env.dir().join("tree");
        files::write(&tree.join("eicar"), EICAR);
        files::write(&tree.join("clean"), b"nothing");
        files::write(&tree.join("secret"), EICAR);
        // Without capabilities, not even its owner may read such a file.
        files::own(&tree.join("secret"), uid, gid, 0);
        Self { env, fdscan, home, tree }
    }

    /// fdscan as installed, with a broker of its own.
    fn fdscan(&self) -> Program {
        // A system's broker would be asked first.
        let inhabited = Path::new("/run/fdbroker/scanner.sock").exists();
        Program::at(&self.fdscan)
            .caller(&user())
            .directory(&self.home)
            .variable("HOME", &self.home)
            .variable("TMPDIR", &self.home)
            .args(inhabited.then_some("--private"))
    }

    #[track_caller]
    fn assert_nothing_is_left(&self, group: u32) {
        empty_group(group).expect("no process is left");
        let left: Vec<_> = fs::read_dir(&self.home).expect("the home").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn fdscan_alone_finds_what_its_user_may_read_and_leaves_nothing() {
    let alone = Alone::new();
    let running = alone.fdscan().arg(&alone.tree).spawn();
    let group = running.pid();
    let output = running.finish().expect_code(1);
    let line = |name: &str| output.line(&alone.tree.join(name).display().to_string());
    let outcome = |name: &str| line(name).expect(name).rsplit(' ').next().map(str::to_owned);
    let outcomes = ["eicar", "clean", "secret"].map(|name| outcome(name).expect("a word"));
    assert_eq!(outcomes, ["FOUND", "OK", "DENIED"], "{output}");
    alone.assert_nothing_is_left(group);
}

#[test]
fn fdscan_alone_with_rules_uses_them() {
    let alone = Alone::new();
    let rules = alone.env.dir().join("my-rules");
    files::write(&rules.join("one.yar"), b"rule One { strings: $a = \"nothing\" condition: $a }");
    let running = alone.fdscan().arg("--rules").arg(&rules).arg(alone.tree.join("clean")).spawn();
    let group = running.pid();
    let output = running.finish().expect_code(1);
    assert!(output.text().contains("clean: One FOUND"), "{output}");
    alone.assert_nothing_is_left(group);
}

#[test]
fn a_killed_fdscan_takes_its_private_broker_along() {
    let alone = Alone::new();
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let mut feed = Feed::start(alone.fdscan());
        let group = feed.running().pid();
        feed.scan(&alone.tree.join("clean"), "OK");
        assert!(proc::group(group).len() >= 5, "{:?}", proc::group(group));
        let status = feed.end_by(signal);
        assert!(!status.success(), "{signal}: {status}");
        alone.assert_nothing_is_left(group);
    }
}

#[test]
fn an_fdscan_killed_while_its_broker_starts_leaves_nothing_either() {
    let alone = Alone::new();
    for phase in ["fdbroker", "fdb-dispatcher", "fdscand-templat", "fdscand-worker", "fdb-opener"] {
        let feed = Feed::start(alone.fdscan());
        let group = feed.running().pid();
        wait_until(phase, || {
            let pids: Vec<u32> = proc::group(group).iter().map(|entry| entry.pid).collect();
            proc::named(&pids, phase).pop()
        });
        feed.end_by(Signal::SIGKILL);
        alone.assert_nothing_is_left(group);
    }
}

#[test]
fn a_private_broker_of_root_still_judges_as_nobody() {
    require_root!();
    let alone = Alone::new();
    let fdscan = Program::at(&alone.fdscan).caller(&Caller::root()).arg("--private");
    let mut feed = Feed::start(fdscan);
    let group = feed.running().pid();
    feed.scan(&alone.tree.join("secret"), "EICAR_Test_File FOUND");
    let pids: Vec<u32> = proc::group(group).iter().map(|entry| entry.pid).collect();
    let workers = proc::named(&pids, "fdscand-worker");
    assert!(!workers.is_empty());
    for status in workers.into_iter().filter_map(proc::status) {
        assert_eq!(status.uids, [65_534; 4], "{status:?}");
        assert_eq!((status.cap_prm, status.cap_eff, status.cap_bnd), (0, 0, 0), "{status:?}");
    }
    assert_eq!(feed.finish().code, Some(1));
    alone.assert_nothing_is_left(group);
}
