//! The kernel bounds how many descriptors a user may have in flight, in all processes together. Who is at
//! that bound waits for what others of the same user have sent, and does nothing else meanwhile.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use fdbroker_common::client::{Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, InFlight, proc, require_root, wait_until};
use nix::errno::Errno;

use crate::{FOUND, assert_served};

const FILES: usize = 300;

/// Of no other test: what those have in flight would count too.
const USER: u32 = 2300;

fn fill(uid: u32) -> InFlight {
    let full = InFlight::fill(&Caller::user(uid), Path::new("/dev/null"));
    assert_eq!(Errno::from_raw(full.errno), Errno::ETOOMANYREFS);
    full
}

#[test]
fn a_scan_of_a_user_with_too_many_descriptors_in_flight_waits_and_ends_right() {
    require_root!();
    let env = Env::start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, FILES, b"nothing");
    // Root is not bound, so the test can send what the user could not.
    let connection = env.connect(&Caller::user(USER));
    let full = fill(USER);
    let mut client = connection.client();
    let root = File::open(&tree).expect("tree");
    let target = Target::from_descriptor(root.into(), b"tree".to_vec());
    let mut scan = client.scan(ScanOptions::default(), std::iter::once(target));
    assert!(matches!(scan.next(), Some(Ok(Event::Accepted(_)))));
    // The library sends what it has to say while it waits for the next event.
    assert!(matches!(scan.next(), Some(Ok(Event::Progress(_)))));
    let [opener] = env.named("fdb-opener")[..] else {
        panic!("{:?}", env.status());
    };
    // It opens as many files as it may, and then waits.
    let open = || proc::descriptors(opener).into_iter().filter(|(_, open)| open.starts_with(&tree));
    wait_until("files are open", || (open().count() >= 100).then_some(()));
    let before = proc::cpu_time(opener);
    for _ in 0..3 {
        assert!(matches!(scan.next(), Some(Ok(Event::Progress(totals))) if totals.clean == 0));
    }
    let used = proc::cpu_time(opener) - before;
    assert!(used < Duration::from_millis(600), "{used:?} in some three seconds");
    assert_served(&env, 2001);
    drop(full);
    let failed = scan.find(|event| match event {
        Ok(Event::Report(report)) => report.outcome.word() != "clean",
        Ok(_) => false,
        Err(_) => true,
    });
    assert!(failed.is_none(), "{failed:?}");
    assert!(scan.is_finished());
    assert_eq!(scan.totals().clean, u64::try_from(FILES).expect("a count"));
}

#[test]
fn a_dispatcher_with_too_many_descriptors_in_flight_keeps_its_openers() {
    require_root!();
    let env = Env::start_spawned();
    let dispatcher = proc::status(env.status().dispatcher_pid).expect("it lives").uids[0];
    let full = fill(dispatcher);
    let mut feeds = [2000, 2001].map(|uid| env.feed(&Caller::user(uid)));
    let eicar = env.file("eicar", EICAR);
    for feed in &mut feeds {
        feed.give(&eicar);
    }
    // Both want a worker, and their leases wait.
    wait_until("leases wait", || (env.status().workers_lent >= 1).then_some(()));
    let openers = wait_until("two openers", || {
        Some(env.named("fdb-opener")).filter(|openers| openers.len() == 2)
    });
    let pid = env.status().dispatcher_pid;
    let before = proc::cpu_time(pid);
    std::thread::sleep(Duration::from_secs(1));
    let used = proc::cpu_time(pid) - before;
    assert!(used < Duration::from_millis(300), "{used:?} in a second");
    drop(full);
    for feed in feeds {
        let line = format!("{}: {FOUND}\n", eicar.display());
        feed.running().wait_for_output(&line);
        assert_eq!(feed.finish().code, Some(1));
    }
    assert_eq!(env.named("fdb-opener"), openers);
}
