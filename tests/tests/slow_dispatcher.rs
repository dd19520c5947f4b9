//! A dispatcher that does not get to run for a while costs time, and no connection.

use fdbroker_common::client::{Client, Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;
use fdbroker_tests::{Env, require_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far more than a socket holds messages.
const REQUESTS: usize = 2000;

#[test]
fn a_held_connection_outlives_a_dispatcher_that_is_stopped_for_a_while() {
    require_root!();
    let env = Env::start_spawned();
    let file = env.file("clean", b"nothing");
    let mut client = Client::connect(env.runtime()).expect("a broker");
    let mut ask = || {
        let targets = std::iter::once(Target::open(&file));
        let events = client.scan(ScanOptions::default(), targets);
        let reports = events.filter_map(|event| match event.expect("no error") {
            Event::Report(report) => Some(report.outcome),
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    assert_eq!(ask(), [Outcome::Clean]);
    let dispatcher = env.named("fdb-dispatcher");
    let pid = Pid::from_raw(i32::try_from(dispatcher[0]).expect("a process id"));
    kill(pid, Signal::SIGSTOP).expect("stop");
    let wrong = (0..REQUESTS).filter(|_| ask() != [Outcome::Clean]).count();
    kill(pid, Signal::SIGCONT).expect("continue");
    assert_eq!(wrong, 0);
    assert_eq!(ask(), [Outcome::Clean]);
}
