//! The end of the broker itself, and what stands in the way of its start.

use std::path::Path;

use fdbroker_tests::env::empty_group;
use fdbroker_tests::{Caller, Env, files, require_root};
use nix::sys::signal::Signal;

use super::{BOUND, begun, kill_named};

#[test]
fn a_killed_dispatcher_ends_the_broker_loudly() {
    require_root!();
    let mut env = Env::start_spawned();
    let feed = begun(&env);
    kill_named(&env, "fdb-dispatcher");
    let broker = env.take_broker();
    let group = broker.pid();
    let output = broker.finish_within(BOUND);
    assert!(output.code.is_some_and(|code| code != 0), "{output}");
    assert!(output.errors().contains("the dispatcher ended"), "{output}");
    empty_group(group).expect("no process is left");
    assert!(!env.client_socket().exists());
    let output = feed.finish();
    assert_eq!(output.code, Some(1), "{output}");
    assert!(!output.errors().is_empty(), "{output}");
}

#[test]
fn nothing_outlives_a_killed_broker() {
    require_root!();
    let mut env = Env::start_spawned();
    let feed = begun(&env);
    let mut broker = env.take_broker();
    broker.signal(Signal::SIGKILL);
    assert!(broker.ended_within(BOUND).is_some());
    let output = feed.finish_within(BOUND);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.errors().contains("before the scan was finished"), "{output}");
    empty_group(broker.pid()).expect("dispatcher, openers and scanner end with it");

    // It could not remove its sockets; the next one does.
    assert!(env.client_socket().exists());
    let clean = env.file("clean", b"nothing");
    let output = env.fdscan(&Caller::user(2000), [&clean]).expect_code(2);
    assert!(output.errors().contains("nobody listens"), "{output}");
    env.start_broker();
    env.wait_serving();
    assert_eq!(env.fdscan(&Caller::user(2000), [&clean]).code, Some(0));
}

#[test]
fn a_second_broker_is_refused_and_the_first_goes_on() {
    require_root!();
    let mut env = Env::start_spawned();
    let first = env.take_broker();
    env.start_broker();
    let output = env.take_broker().finish();
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.errors().contains("another broker runs here"), "{output}");
    let clean = env.file("clean", b"nothing");
    assert_eq!(env.fdscan(&Caller::user(2000), [&clean]).code, Some(0));
    env.put_back(first);
}

#[test]
fn a_runtime_directory_that_others_may_write_is_refused() {
    require_root!();
    for (uid, mode) in [(0, 0o777), (0, 0o775), (2000, 0o755)] {
        let mut env = Env::build().broker_arg("--spawn-scanner").idle();
        files::own(env.runtime(), uid, 0, mode);
        env.start_broker();
        let broker = env.take_broker();
        let group = broker.pid();
        let output = broker.finish();
        assert_eq!(output.code, Some(2), "{output}");
        assert!(output.errors().contains("writable by no other"), "{output}");
        empty_group(group).expect("nothing is left");
        assert_eq!(std::fs::read_dir(env.runtime()).expect("it is there").count(), 0);
    }
}

#[test]
fn stopping_ends_scans_in_progress_with_an_error() {
    require_root!();
    let env = Env::start_separate();
    let feed = begun(&env);
    let group = feed.running().pid();
    // Asserts by itself that no process and no socket remains.
    env.stop();
    let output = feed.finish_within(BOUND);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.errors().contains("before the scan was finished"), "{output}");
    empty_group(group).expect("nothing is left");
    assert!(!Path::new("/proc").join(group.to_string()).exists());
}
