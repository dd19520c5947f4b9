//! As whom each process runs, by the kernel's word, and what that identity really keeps from it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use fdbroker_common::fdpass;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::proc::{self, Status};
use fdbroker_tests::{
    Caller, Env, Output, PATIENCE, Program, poll_until, program, require_root, wait_until,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::fs::{OFlags, fcntl_setfl};

const NOBODY: u32 = 65_534;
const KILL: u64 = 1 << 5;
const READ_SEARCH: u64 = 1 << 2;
const FILTER: u32 = 2;

/// The status of the one process with this name.
#[track_caller]
fn only(env: &Env, name: &str) -> Status {
    // A worker has the name of its template until it has one of its own.
    wait_until(name, || match env.named(name)[..] {
        [pid] => proc::status(pid),
        _ => None,
    })
}

#[track_caller]
fn assert_no_capabilities(status: &Status) {
    let Status { cap_inh, cap_prm, cap_eff, cap_amb, .. } = status;
    assert_eq!([cap_inh, cap_prm, cap_eff, cap_amb], [&0; 4], "{status:?}");
}

#[track_caller]
fn assert_fenced(status: &Status) {
    assert_eq!((status.no_new_privs, status.seccomp), (1, FILTER), "{status:?}");
}

/// A fresh worker, and the one that is held by a scan in progress.
fn workers(env: &Env) -> Vec<Status> {
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&env.file("clean", b"nothing"), "OK");
    // The one that is lent, and the next one, which takes a moment to be named.
    let workers = wait_until("two workers", || {
        let pids = env.named("fdscand-worker");
        let found: Vec<Status> = pids.iter().filter_map(|pid| proc::status(*pid)).collect();
        (found.len() >= 2 && found.iter().all(|status| status.seccomp == FILTER)).then_some(found)
    });
    assert_eq!(feed.finish().code, Some(0));
    workers
}

#[test]
fn workers_of_a_spawned_scanner_are_nobody_with_nothing() {
    require_root!();
    let env = Env::start_spawned();
    for worker in workers(&env) {
        assert_eq!(worker.uids, [NOBODY; 4], "{worker:?}");
        assert_eq!(worker.gids, [NOBODY; 4], "{worker:?}");
        assert!(worker.groups.is_empty(), "{worker:?}");
        assert_no_capabilities(&worker);
        assert_eq!(worker.cap_bnd, 0, "{worker:?}");
        assert_fenced(&worker);
    }
}

#[test]
fn workers_of_a_scanner_started_by_hand_are_nobody_with_no_capability() {
    require_root!();
    let env = Env::start_separate();
    for worker in workers(&env) {
        assert_eq!(worker.uids, [NOBODY; 4], "{worker:?}");
        assert_eq!(worker.gids, [NOBODY; 4], "{worker:?}");
        // Only root can empty the bounding set; with no_new_privs there is no way to use it.
        assert!(worker.groups.is_empty(), "{worker:?}");
        assert_no_capabilities(&worker);
        assert_fenced(&worker);
    }
    let template = only(&env, "fdscand-templat");
    assert_eq!(template.uids, [NOBODY; 4], "{template:?}");
    assert_no_capabilities(&template);
    assert_fenced(&template);
}

#[test]
fn an_opener_is_its_caller_and_nothing_more() {
    require_root!();
    let env = Env::start_spawned();
    let caller = Caller { uid: 2000, gid: 2100, groups: vec![3000, 3001] };
    assert_eq!(env.fdscan(&caller, [env.file("clean", b"nothing")]).code, Some(0));
    let opener = only(&env, "fdb-opener");
    assert_eq!(opener.uids, [2000; 4], "{opener:?}");
    assert_eq!(opener.gids, [2100; 4], "{opener:?}");
    assert_eq!(opener.groups, [3000, 3001], "{opener:?}");
    assert_no_capabilities(&opener);
    assert_eq!(opener.cap_bnd, 0, "{opener:?}");
    assert_fenced(&opener);
}

#[test]
fn an_opener_for_root_is_not_root_and_can_only_read() {
    require_root!();
    let env = Env::start_spawned();
    let secret = env.file("secret", EICAR);
    files::own(&secret, 0, 0, 0o600);
    assert_eq!(env.fdscan(&Caller::root(), [&secret]).code, Some(1));
    let opener = only(&env, "fdb-opener");
    assert!(opener.uids.iter().all(|uid| ![0, NOBODY].contains(uid)), "{opener:?}");
    assert!(opener.gids.iter().all(|gid| ![0, NOBODY].contains(gid)), "{opener:?}");
    assert!(opener.groups.is_empty(), "{opener:?}");
    assert_eq!((opener.cap_prm, opener.cap_eff), (READ_SEARCH, READ_SEARCH), "{opener:?}");
    assert_eq!([opener.cap_inh, opener.cap_bnd, opener.cap_amb], [0; 3], "{opener:?}");
    assert_fenced(&opener);
}

#[test]
fn the_dispatcher_has_an_identity_of_its_own_and_nothing_else() {
    require_root!();
    let env = Env::start_spawned();
    assert_eq!(env.fdscan(&Caller::root(), [env.file("clean", b"nothing")]).code, Some(0));
    let dispatcher = only(&env, "fdb-dispatcher");
    assert!(dispatcher.uids.iter().all(|uid| ![0, NOBODY].contains(uid)), "{dispatcher:?}");
    assert!(dispatcher.groups.is_empty(), "{dispatcher:?}");
    assert_no_capabilities(&dispatcher);
    assert_eq!(dispatcher.cap_bnd, 0, "{dispatcher:?}");
    assert_fenced(&dispatcher);
    // Nor does it share that identity with the opener that may read everything.
    assert_ne!(only(&env, "fdb-opener").uids, dispatcher.uids);
}

#[test]
fn one_process_is_root_and_uses_one_capability() {
    require_root!();
    let env = Env::start_spawned();
    for uid in [0, 2000, 2001] {
        assert_eq!(env.fdscan(&Caller::user(uid), [env.file("f", b"nothing")]).code, Some(0));
    }
    let processes = env.processes();
    let statuses = processes.iter().filter_map(|entry| Some((entry.pid, proc::status(entry.pid)?)));
    let root: Vec<u32> =
        statuses.filter(|(_, status)| status.uids.contains(&0)).map(|(pid, _)| pid).collect();
    assert_eq!(root, [env.broker().pid()], "{processes:?}");
    let broker = proc::status(env.broker().pid()).expect("it lives");
    assert_eq!((broker.name.as_str(), broker.threads), ("fdbroker", 1));
    assert_eq!(broker.cap_eff, KILL, "{broker:?}");
    assert_eq!((broker.cap_inh, broker.cap_amb), (0, 0), "{broker:?}");
    // KILL, SETGID, SETUID, SETPCAP, DAC_READ_SEARCH: what its children are made with.
    assert_eq!(broker.cap_prm & !0x1e4, 0, "{broker:?}");
    assert_eq!(broker.cap_bnd, broker.cap_prm, "{broker:?}");
    assert_fenced(&broker);
}

#[test]
fn the_self_test_finds_every_process_confined() {
    require_root!();
    for env in [Env::start_spawned(), Env::start_separate(), Env::rootless(2000)] {
        let output = env.ctl(["self-test"]);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.text().lines().count() >= 5, "{output}");
    }
}

/// What the descriptors of a process stand for, without numbers: `socket:`, `pipe:`, or a path.
fn holds(pid: u32) -> Vec<String> {
    let shown = proc::descriptors(pid).into_iter().map(|(_, open)| {
        let open = open.display().to_string();
        open.split_once('[').map(|(kind, _)| kind.to_owned()).unwrap_or(open)
    });
    let mut shown: Vec<String> = shown.filter(|open| open != "/dev/null").collect();
    shown.sort();
    shown
}

#[test]
fn workers_and_openers_hold_nothing_but_their_connections() {
    require_root!();
    let env = Env::start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, 300, b"nothing");
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&tree.join("0/7"), "OK");
    feed.give(&tree);
    feed.scan(&env.file("last", b"nothing"), "OK");
    // What was scanned is closed, in the worker that is still lent too.
    for worker in env.named("fdscand-worker") {
        wait_until("a worker holds its connection and its pipe for last words", || {
            let gone = !proc::is_alive(worker);
            (gone || holds(worker) == ["pipe:", "socket:"]).then_some(())
        });
    }
    let opener = env.named("fdb-opener");
    assert_eq!(feed.finish().code, Some(0));
    let own = format!("/proc/{}/fd", opener[0]);
    let held =
        "an idle opener holds its links to broker, dispatcher and auditor, and the names of rules";
    let mut last = Vec::new();
    let settled = poll_until(held, PATIENCE, || {
        last = holds(opener[0]);
        let is_table = |name: &String| name.starts_with("/memfd:");
        let others: Vec<&String> = last.iter().filter(|name| !is_table(name)).collect();
        let tables = last.len() - others.len();
        (tables <= 1 && others == [own.as_str(), "socket:", "socket:", "socket:"]).then_some(())
    });
    assert!(settled.is_ok(), "{settled:?}: {last:?}");
}

#[test]
fn the_configuration_is_read_without_the_rights_of_root() {
    require_root!();
    let env = Env::build().idle();
    let file = env.file("fdbroker.toml", b"workers = 2\n");
    // Found by root alone, in a directory of its own.
    files::own(&file, 0, 0, 0o600);
    files::own(env.dir(), 0, 0, 0o700);
    // A pipe that is full: the reader waits when it says what it has read.
    let (mut answer, full) = std::io::pipe().expect("pipe");
    fcntl_setfl(&full, OFlags::NONBLOCK).expect("fcntl");
    while (&full).write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&full, OFlags::empty()).expect("fcntl");
    let mut broker = Command::new(program::executable("fdbroker"));
    broker.arg("--config").arg(&file).arg("--check-config").stdin(Stdio::null()).stdout(full);
    let mut child = broker.spawn().expect("fdbroker starts");
    // Its copy of the pipe.
    drop(broker);
    let reader = wait_until("somebody has read the file", || {
        let reader = *proc::descendants(child.id()).first()?;
        let about = proc::status(reader)?;
        // Its fence stands, so it has its identity.
        (about.no_new_privs == 1).then_some(about)
    });
    let own = reader.uids[0];
    assert!((65_520..=65_531).contains(&own), "{reader:?}");
    assert_eq!((reader.uids, reader.gids), (vec![own; 4], vec![own; 4]));
    assert_eq!([reader.cap_prm, reader.cap_eff, reader.cap_bnd], [READ_SEARCH, READ_SEARCH, 0]);
    assert_eq!((reader.cap_inh, reader.cap_amb, reader.no_new_privs), (0, 0, 1));
    let mut said = String::new();
    answer.read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    assert!(said.trim_start_matches('x').contains("\nworkers        2\n"), "{said}");
}

/// What `run-as open` says as nobody: errno of its own open(2), contents of a passed descriptor.
fn as_nobody(path: &std::path::Path, passed: &File) -> Output {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("socketpair");
    let (nobody, none) = (NOBODY.to_string(), "");
    let reader = Program::new("run-as")
        .args(["open", nobody.as_str(), nobody.as_str(), none])
        .arg(path)
        .stdin(theirs)
        .spawn();
    let ours: UnixDatagram = OwnedFd::into(ours);
    fdpass::send(&ours, b"f", &[passed.as_fd()]).expect("sendmsg");
    reader.finish()
}

#[test]
fn nobody_reads_through_a_descriptor_what_it_cannot_open() {
    require_root!();
    let env = Env::build().idle();
    let secret = env.file("secret", b"only root can open this");
    files::own(&secret, 0, 0, 0o600);
    let output = as_nobody(&secret, &File::open(&secret).expect("root can"));
    let refused = nix::errno::Errno::EACCES as i32;
    assert_eq!(output.text(), format!("{refused}\nonly root can open this"), "{output}");
    // The same program can open what nobody may read, so it was the kernel that refused.
    let public = env.file("public", b"");
    let output = as_nobody(&public, &File::open(&secret).expect("root can"));
    assert_eq!(output.text(), "0\nonly root can open this", "{output}");
}
