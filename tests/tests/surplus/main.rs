//! Requests that carry more descriptors than they should: the sender loses its connection, and no process of
//! ours keeps a descriptor.
//!
//! `FDBROKER_SURPLUS=10000` sends so many of them; without it there are fewer.

mod requests;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use fdbroker_common::limits::DESCRIPTORS_PER_MESSAGE_MAX;
use fdbroker_common::paths;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{
    Caller, Connection, Env, PATIENCE, limit, poll_until, proc, require_root, require_tool,
    wait_until,
};

use requests::{Packet, Request, after_start, before_start, send};

/// How many at once are more than none, more than a control buffer rounds up to, and all there can be.
const SURPLUS: [usize; 3] = [1, 2, DESCRIPTORS_PER_MESSAGE_MAX];

/// How many requests a test sends.
fn times() -> usize {
    std::env::var("FDBROKER_SURPLUS").ok().and_then(|times| times.parse().ok()).unwrap_or(300)
}

/// A broker that has served, and what its processes hold.
struct Stage {
    env: Env,
    bait: PathBuf,
    base: BTreeMap<String, Vec<usize>>,
}

impl Stage {
    fn new() -> Self {
        let env = Env::start_spawned();
        let bait = env.file("bait", b"bait");
        let mut stage = Self { env, bait, base: BTreeMap::new() };
        stage.others_are_served();
        stage.base = stage.rest();
        stage
    }

    fn others_are_served(&self) {
        let bad = self.env.file("eicar", EICAR);
        for uid in [2000, 2001] {
            let output = self.env.fdscan(&Caller::user(uid), [&bad]);
            assert_eq!(output.code, Some(1), "{output}");
        }
        assert_eq!(self.env.ctl(["ping"]).code, Some(0));
    }

    /// Descriptors of each kind of process, once nothing goes on; without the links to the openers, of which
    /// there may be more than before.
    fn rest(&self) -> BTreeMap<String, Vec<usize>> {
        wait_until("all openers are idle", || {
            let idle = self.env.status().openers.iter().all(|opener| !opener.busy);
            let fresh = self.env.status();
            (idle && fresh.workers_lent == 0 && fresh.workers == fresh.workers_max).then_some(())
        });
        self.counts()
    }

    fn counts(&self) -> BTreeMap<String, Vec<usize>> {
        let openers = self.env.named("fdb-opener").len();
        let mut counts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for entry in self.env.processes() {
            let Some(status) = proc::status(entry.pid) else { continue };
            let mut count = proc::descriptor_count(entry.pid);
            if ["fdbroker", "fdb-dispatcher", "fdb-auditor"].contains(&status.name.as_str()) {
                count = count.saturating_sub(openers);
            }
            if status.name == "fdb-opener" {
                // The table of rules, which only one that has had a worker holds, once.
                let open = proc::descriptors(entry.pid);
                let is_table =
                    |open: &(u32, PathBuf)| open.1.starts_with("/memfd:fdbroker-rules (deleted)");
                count = count.saturating_sub(usize::from(open.iter().any(is_table)));
            }
            counts.entry(status.name).or_default().push(count);
        }
        for counts in counts.values_mut() {
            counts.sort_unstable();
            counts.dedup();
        }
        counts
    }

    #[track_caller]
    fn assert_flat(&self) {
        // Openers that had nothing to do for long have ended.
        self.others_are_served();
        let mut now = BTreeMap::new();
        let flat = poll_until("flat", PATIENCE, || {
            now = self.rest();
            (now == self.base).then_some(())
        });
        assert!(flat.is_ok(), "descriptors {now:?}, before {:?}", self.base);
        self.assert_none_kept();
        self.others_are_served();
    }

    fn assert_none_kept(&self) {
        let pids = self.env.processes().into_iter().map(|entry| entry.pid);
        let kept = pids.flat_map(proc::descriptors).filter(|(_, path)| *path == self.bait);
        assert_eq!(kept.count(), 0);
    }

    /// Makes a request with a connection of its own, which must end.
    fn request(&self, caller: &Caller, socket: &Path, request: &Request, bait: &File) {
        let connection = Connection::open(caller, socket).expect("connect");
        connection.socket().set_read_timeout(Some(PATIENCE)).expect("setsockopt");
        for Packet { bytes, descriptors, of_itself } in &request.packets {
            let given = if *of_itself { connection.as_fd() } else { bait.as_fd() };
            let given: Vec<BorrowedFd<'_>> = (0..*descriptors).map(|_| given).collect();
            // It may have been sent away already.
            if send(connection.socket(), bytes, &given).is_err() {
                break;
            }
        }
        if request.is_answered {
            let (answer, descriptors) = connection.hear().expect(&request.what);
            assert!(!answer.is_empty() && descriptors.is_empty(), "{}", request.what);
            return;
        }
        for _ in 0..100 {
            match connection.hear() {
                Ok((bytes, _)) if bytes.is_empty() => return,
                Ok((_, descriptors)) => assert!(descriptors.is_empty(), "{}", request.what),
                // What is closed with something unread is reset.
                Err(error) if format!("{error:?}").contains("ConnectionReset") => return,
                Err(error) => panic!("{}: {error:?}", request.what),
            }
        }
        panic!("{}: it goes on", request.what);
    }

    /// So many requests, of each kind in turn.
    fn requests(&self, caller: &Caller, socket: &str, requests: &[Request]) {
        let socket = self.env.runtime().join(socket);
        let bait = File::open(&self.bait).expect("bait");
        for request in requests.iter().cycle().take(times()) {
            self.request(caller, &socket, request, &bait);
        }
    }
}

#[test]
fn no_surplus_descriptor_of_a_client_stays() {
    require_root!();
    let stage = Stage::new();
    let requests = SURPLUS.map(|surplus| [before_start(surplus), after_start(surplus)].concat());
    stage.requests(&Caller::user(2000), paths::CLIENT_SOCKET, &requests.concat());
    stage.assert_flat();
}

#[test]
fn no_surplus_descriptor_on_the_scanner_socket_stays() {
    require_root!();
    let mut env = Env::build().idle();
    env.start_broker();
    let socket = env.runtime().join(paths::SCANNER_SOCKET);
    wait_until("scanner.sock", || proc::is_listening(&socket).then_some(()));
    let bait = env.file("bait", b"bait");
    // A dispatcher that answers has started up.
    let _ = env.status();
    let mut stage = Stage { env, bait, base: BTreeMap::new() };
    stage.base = stage.counts();
    let requests: Vec<Request> = SURPLUS.into_iter().flat_map(requests::hello).collect();
    stage.requests(&Caller::nobody(), paths::SCANNER_SOCKET, &requests);
    stage.requests(&Caller::user(2000), paths::SCANNER_SOCKET, &requests);
    let mut now = BTreeMap::new();
    let flat = fdbroker_tests::poll_until("it is as before", PATIENCE / 4, || {
        now = stage.counts();
        // The base may have counted a connection that was just being closed.
        let within = |(name, counts): (&String, &Vec<usize>)| {
            stage.base.get(name).is_some_and(|base| counts.iter().max() <= base.iter().max())
        };
        now.iter().all(within).then_some(())
    });
    assert!(flat.is_ok(), "{now:?}, before {:?}", stage.base);
    stage.assert_none_kept();
    stage.env.start_scanner();
    stage.env.wait_serving();
    stage.others_are_served();
}

#[test]
fn no_surplus_descriptor_of_an_administrator_stays() {
    require_root!();
    let stage = Stage::new();
    let requests: Vec<Request> = SURPLUS.into_iter().flat_map(requests::status).collect();
    stage.requests(&Caller::root(), paths::ADMIN_SOCKET, &requests);
    stage.assert_flat();
}

#[test]
fn descriptors_that_an_opener_has_no_room_for_cost_its_client_the_connection() {
    require_root!();
    require_tool!("prlimit");
    let stage = Stage::new();
    let opener = stage.env.named("fdb-opener")[0];
    let caller = stage.env.status().openers.iter().find(|other| other.pid == opener).cloned();
    let caller = Caller::user(caller.expect("an opener").caller_uid);
    limit::descriptors(&caller, opener, proc::descriptor_count(opener) + 20);
    let bait = File::open(&stage.bait).unwrap();
    let request = requests::targets(64);
    for _ in 0..20 {
        // It is the one that serves: while it is busy the broker starts another, which has room.
        let _ = stage.rest();
        stage.request(&caller, &stage.env.client_socket(), &request, &bait);
    }
    // The same process goes on.
    assert!(proc::is_alive(opener));
    limit::descriptors(&caller, opener, 1024);
    stage.assert_flat();
}
