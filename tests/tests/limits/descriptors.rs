//! Each process at its limit on open files: it says so or sheds what it cannot do, keeps running, spins
//! nowhere, and is as before once the limit is.

use std::time::Duration;

use fdbroker_common::refusal::Refusal;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, PATIENCE, proc, require_root, require_tool, wait_until};

use crate::{FOUND, Limited, assert_refused, assert_served};

/// Processor time that a process uses within a second.
fn busyness(pid: u32) -> Duration {
    let before = proc::cpu_time(pid);
    std::thread::sleep(Duration::from_secs(1));
    proc::cpu_time(pid) - before
}

/// What one that waits for events stays far below, and one that spins is at on any machine that is not
/// hopelessly busy.
const SPINNING: Duration = Duration::from_millis(300);

#[test]
fn a_broker_without_descriptors_refuses_each_connection_and_serves_again_later() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::start_spawned();
    assert_served(&env, 2000);
    let broker = env.broker().pid();
    let mut feed = env.feed(&Caller::user(2001));
    feed.scan(&env.file("first", EICAR), FOUND);
    let before = wait_until("rest", || {
        let busy = env.status().openers.iter().filter(|opener| opener.busy).count();
        (busy == 1).then(|| proc::descriptor_count(broker))
    });
    let limited = Limited::to_lowest_free(broker);
    for uid in (2000..2040).chain([0]) {
        assert_refused(env.connect(&Caller::user(uid)).socket(), Refusal::Overloaded);
    }
    let count = || proc::descriptor_count(broker);
    // The last refusal is heard before the spare descriptor is there again.
    wait_until("as many as before", || (count() == before).then_some(()));
    assert!(busyness(broker) < SPINNING);
    // Who is served already goes on.
    feed.scan(&env.file("second", EICAR), FOUND);
    drop(limited);
    assert_eq!(feed.finish().code, Some(1));
    assert_served(&env, 2000);
    wait_until("no more than before", || (count() <= before).then_some(()));
    assert!(env.log().contains("Too many open files"), "{}", env.log());
}

#[test]
fn a_broker_that_cannot_even_refuse_waits_and_serves_later() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::start_spawned();
    let broker = env.broker().pid();
    let limited = Limited::to(broker, 0);
    let eicar = env.file("eicar", EICAR);
    let waiting = env.fdscan_program(&Caller::user(2000)).arg(&eicar).spawn();
    assert!(busyness(broker) < SPINNING);
    drop(limited);
    assert_eq!(waiting.finish().code, Some(1));
}

#[test]
fn a_dispatcher_without_descriptors_does_not_spin_and_answers_later() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::start_spawned();
    // Not asked for on the admin socket, which would be a descriptor more for a moment.
    let [dispatcher] = env.named("fdb-dispatcher")[..] else {
        panic!("{}", env.log());
    };
    // What came with the start is closed.
    let (mut last, mut looks) = (0, 0);
    wait_until("it rests", || {
        let count = proc::descriptor_count(dispatcher);
        looks = if count == last { looks + 1 } else { 0 };
        last = count;
        (looks >= 30).then_some(())
    });
    let limited = Limited::to_lowest_free(dispatcher);
    let asking = fdbroker_tests::Program::new("fdbrokerctl")
        .arg("--runtime-dir")
        .arg(env.runtime())
        .arg("status")
        .spawn();
    assert!(busyness(dispatcher) < SPINNING);
    drop(limited);
    let _ = asking.finish().expect_code(0);
    assert_served(&env, 2000);
    assert_eq!(env.status().dispatcher_pid, dispatcher);
}

#[test]
fn a_scan_whose_opener_has_no_descriptors_waits_and_goes_on_when_it_has() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::start_spawned();
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&env.file("first", EICAR), FOUND);
    let [opener] = env.named("fdb-opener")[..] else {
        panic!("{:?}", env.status());
    };
    let limited = Limited::to_lowest_free(opener);
    feed.give(&env.file("clean", b"nothing"));
    feed.running().wait_for("waiting for it");
    drop(limited);
    let output = feed.finish_within(PATIENCE).expect_code(1);
    assert!(output.errors().contains("fdscan: "), "it says that it was interrupted: {output}");
    assert_eq!(output.text().matches("first: EICAR_Test_File FOUND").count(), 1, "{output}");
    assert_eq!(output.text().matches("clean: OK").count(), 1, "{output}");
    assert_served(&env, 2000);
}

#[test]
fn a_worker_without_descriptors_costs_no_file() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::build().broker_arg("--workers").broker_arg("1").start_spawned();
    // The only one there is will be lent, and another one forked.
    let worker = wait_until("one worker", || match env.named("fdscand-worker")[..] {
        [worker] => Some(worker),
        _ => None,
    });
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&env.file("first", EICAR), FOUND);
    let limited = Limited::to_lowest_free(worker);
    feed.scan(&env.file("clean", b"nothing"), "OK");
    feed.scan(&env.file("second", EICAR), FOUND);
    drop(limited);
    // It was lost over the file that it could not take, which went to another.
    wait_until("the worker has ended", || (!proc::is_alive(worker)).then_some(()));
    assert_eq!(feed.finish().code, Some(1));
}
