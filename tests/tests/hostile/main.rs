//! Peers that say nothing, nonsense, or the right thing at the wrong time: they lose their connection, and
//! nobody else anything.

mod attacks;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fdbroker_common::admin_link::AdminRequest;
use fdbroker_common::client_link::{ClientToOpener, ScanOptions};
use fdbroker_common::fdpass;
use fdbroker_common::limits::ADMIN_CONNECTIONS_MAX;
use fdbroker_common::paths;
use fdbroker_common::scanner_link::SupervisorToBroker;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Connection, Env, PATIENCE, proc, require_root, wait_until};
use nix::errno::Errno;

use attacks::{Attack, attack, message, noise, nonsense, out_of_turn};

const FOUND: &str = "EICAR_Test_File FOUND";

/// Sends, then waits for the end of the connection.
#[track_caller]
fn perform(connection: &Connection, attack: &Attack, bait: &File) {
    connection.socket().set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    for (bytes, count) in &attack.packets {
        let descriptors: Vec<BorrowedFd<'_>> = (0..*count).map(|_| bait.as_fd()).collect();
        if fdpass::send(connection.socket(), bytes, &descriptors).is_err() {
            break;
        }
    }
    assert_ends(connection, &attack.what);
}

/// Reads to the end, which must come.
#[track_caller]
fn assert_ends(connection: &Connection, what: &str) {
    for _ in 0..1000 {
        match connection.hear() {
            Ok((bytes, _)) if bytes.is_empty() => return,
            Ok(_) => {}
            Err(error) => {
                let source = error.get_ref().map(ToString::to_string).unwrap_or_default();
                // A socket that is closed with something unread resets the connection.
                assert!(source.contains("reset"), "{what}: {error}");
                return;
            }
        }
    }
    panic!("{what}: no end");
}

/// No process of the broker keeps the descriptors of an attack.
fn assert_not_kept(env: &Env, bait: &Path) {
    wait_until("the descriptors of the attacks are closed", || {
        let kept = env.processes().into_iter().flat_map(|entry| proc::descriptors(entry.pid));
        kept.into_iter().all(|(_, open)| open != bait).then_some(())
    });
}

fn bait(env: &Env) -> (PathBuf, File) {
    let path = env.file("bait", b"bait");
    let file = File::open(&path).expect("bait");
    (path, file)
}

/// Scans that go on while something else happens, and a fresh one after it.
fn undisturbed(env: &Env, meanwhile: impl FnOnce()) {
    let dispatcher = env.named("fdb-dispatcher");
    let mut scans = [2000, 2001].map(|uid| env.feed(&Caller::user(uid)));
    let first = env.file("first", EICAR);
    for scan in &mut scans {
        scan.scan(&first, FOUND);
    }
    meanwhile();
    let second = env.file("second", EICAR);
    for mut scan in scans {
        scan.scan(&second, FOUND);
        let output = scan.finish().expect_code(1);
        assert_eq!(output.errors(), "", "{output}");
    }
    assert_eq!(env.ctl(["ping"]).expect_code(0).code, Some(0));
    assert_eq!(env.named("fdb-dispatcher"), dispatcher);
}

#[test]
fn a_client_that_talks_nonsense_loses_its_connection_and_nobody_else_anything() {
    require_root!();
    let env = Env::start_spawned();
    let (path, bait) = bait(&env);
    let good = ClientToOpener::Start(ScanOptions::default());
    undisturbed(&env, || {
        for attack in nonsense(&good).iter().chain(&out_of_turn()) {
            perform(&env.connect(&Caller::user(2000)), attack, &bait);
        }
    });
    drop(bait);
    assert_not_kept(&env, &path);
    // An opener outlives a bad client and serves the next one, unless that comes before it says so.
    assert!(env.named("fdb-opener").len() <= 10, "{:?}", env.status());
}

#[test]
fn clients_that_say_nothing_keep_nobody_waiting() {
    require_root!();
    let env = Env::start_spawned();
    undisturbed(&env, || {
        let silent: Vec<Connection> = (0..20).map(|_| env.connect(&Caller::user(2000))).collect();
        let clean = env.file("clean", b"nothing");
        for uid in [2000, 2001, 0] {
            assert_eq!(env.fdscan(&Caller::user(uid), [&clean]).code, Some(0));
        }
        drop(silent);
        for _ in 0..50 {
            drop(env.connect(&Caller::user(2000)));
        }
    });
    wait_until("all openers are idle", || {
        env.status().openers.iter().all(|opener| !opener.busy).then_some(())
    });
}

#[test]
fn the_scanner_socket_takes_the_scanners_user_alone() {
    require_root!();
    let env = Env::start_separate();
    let socket = env.runtime().join(paths::SCANNER_SOCKET);
    let hello = message(&SupervisorToBroker::Hello { workers: 3 });
    let (path, bait) = bait(&env);
    undisturbed(&env, || {
        for uid in [2000, 0, 1] {
            let connection = Connection::open(&Caller::user(uid), &socket).expect("connect");
            perform(&connection, &attack("hello", vec![(hello.clone(), 0)]), &bait);
        }
        // Nor a second one of the right user.
        for attack in nonsense(&SupervisorToBroker::Hello { workers: 3 }) {
            let connection = Connection::open(&Caller::nobody(), &socket).expect("connect");
            perform(&connection, &attack, &bait);
        }
    });
    drop(bait);
    assert_not_kept(&env, &path);
    assert!(!env.broker().log().contains("scanner lost"), "{}", env.log());
    let ours = env.status();
    assert_eq!((ours.scanner_uid, ours.scanner_pid), (65_534, env.scanner().pid()));
}

#[test]
fn a_scanner_that_talks_nonsense_is_sent_away_and_the_next_one_serves() {
    require_root!();
    let mut env = Env::build().idle();
    env.start_broker();
    let socket = env.runtime().join(paths::SCANNER_SOCKET);
    wait_until("scanner.sock", || proc::is_listening(&socket).then_some(()));
    let (path, bait) = bait(&env);
    let hello = message(&SupervisorToBroker::Hello { workers: 1 });
    let template = message(&SupervisorToBroker::Template { template: 77 });
    let failed = message(&SupervisorToBroker::Failed { template: 77, errno: 1 });
    let attacks = [
        attack("template before hello", vec![(template.clone(), 1)]),
        attack("hello and noise", vec![(hello.clone(), 0), (noise(5, 100), 0)]),
        attack("a template that nobody asked for", vec![(hello.clone(), 0), (template, 1)]),
        attack("a failure of nothing", vec![(hello, 0), (failed, 0), (noise(5, 9), 0)]),
    ];
    let nonsense = nonsense(&SupervisorToBroker::Hello { workers: 3 });
    for attack in nonsense.iter().chain(&attacks) {
        let connection = Connection::open(&Caller::nobody(), &socket).expect("connect");
        perform(&connection, attack, &bait);
    }
    drop(bait);
    assert_not_kept(&env, &path);
    assert!(!env.client_socket().exists(), "it serves without a scanner:\n{}", env.log());
    env.start_scanner();
    env.wait_serving();
    assert_eq!(env.ctl(["ping"]).expect_code(0).code, Some(0));
}

#[test]
fn a_scanner_that_says_nothing_does_not_keep_the_real_one_away_for_ever() {
    require_root!();
    let mut env = Env::build().idle();
    env.start_broker();
    let socket = env.runtime().join(paths::SCANNER_SOCKET);
    wait_until("scanner.sock", || proc::is_listening(&socket).then_some(()));
    let silent = Connection::open(&Caller::nobody(), &socket).expect("connect");
    env.broker().wait_for("scanner connected");
    env.start_scanner();
    env.wait_serving();
    assert_eq!(env.ctl(["ping"]).expect_code(0).code, Some(0));
    drop(silent);
}

#[test]
fn the_admin_socket_takes_the_administrator_alone() {
    require_root!();
    let env = Env::start_spawned();
    let socket = env.runtime().join(paths::ADMIN_SOCKET);
    let dispatcher = env.status().dispatcher_pid;
    let dispatcher = proc::status(dispatcher).expect("it lives").uids[0];
    for uid in [2000, 65_534, dispatcher] {
        let refused = Connection::open(&Caller::user(uid), &socket).expect_err("no right");
        assert_eq!(refused.raw_os_error(), Some(Errno::EACCES as i32), "uid {uid}");
        for verb in ["status", "reload"] {
            let output = env.ctl_as(&Caller::user(uid), [verb]);
            assert_eq!(output.code, Some(2), "{output}");
        }
    }
}

#[test]
fn an_administrator_that_talks_nonsense_loses_the_connection_and_nobody_else_anything() {
    require_root!();
    let env = Env::start_spawned();
    let socket = env.runtime().join(paths::ADMIN_SOCKET);
    let (path, bait) = bait(&env);
    let connect = || Connection::open(&Caller::root(), &socket).expect("connect");
    undisturbed(&env, || {
        for attack in nonsense(&AdminRequest::Status) {
            perform(&connect(), &attack, &bait);
        }
        // As many as there may be, all silent; then there is room again.
        let silent: Vec<Connection> = (0..ADMIN_CONNECTIONS_MAX).map(|_| connect()).collect();
        let one_more = connect();
        one_more.socket().set_read_timeout(Some(Duration::from_secs(20))).expect("setsockopt");
        assert_ends(&one_more, "one administrator too many");
        drop(silent);
        wait_until("an administrator is heard", || asks_status(&connect()).ok());
    });
    drop(bait);
    assert_not_kept(&env, &path);
}

fn asks_status(connection: &Connection) -> io::Result<()> {
    connection.socket().set_read_timeout(Some(PATIENCE))?;
    fdpass::send(connection.socket(), &message(&AdminRequest::Status), &[])?;
    let (bytes, _) = connection.hear()?;
    if bytes.is_empty() { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
}
