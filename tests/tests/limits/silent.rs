//! Clients that keep an opener and say nothing. The longer bounds are tested with a clock of their own, in
//! `broker/src/opener/patience.rs`.

use std::time::Instant;

use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, ScanOptions};
use fdbroker_common::fdpass;
use fdbroker_common::limits::START_WAIT;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::wire;
use fdbroker_tests::{Caller, Connection, Env, proc, require_root, wait_until};

use crate::{assert_refused, assert_served, told};

fn say(connection: &Connection, message: &ClientToOpener) {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).expect("a message");
    fdpass::send(connection.socket(), &bytes, &[]).expect("send");
}

#[test]
fn a_client_that_begins_no_scan_is_dismissed_and_one_that_has_begun_is_not() {
    require_root!();
    let env = Env::start_spawned();
    let user = Caller::user(2000);
    let begun = env.connect(&Caller::user(2001));
    say(&begun, &ClientToOpener::Start(ScanOptions::default()));
    assert!(matches!(told(begun.socket()), Some(OpenerToClient::Accepted { .. })));
    let since = Instant::now();
    let silent = env.connect(&user);
    let openers = wait_until("openers", || <[u32; 2]>::try_from(env.named("fdb-opener")).ok());
    assert_refused(silent.socket(), Refusal::Silent);
    assert!(since.elapsed() + START_WAIT / 10 >= START_WAIT, "{:?}", since.elapsed());

    // Its opener is there for the next one.
    assert_served(&env, 2000);
    assert!(openers.into_iter().all(proc::is_alive));

    // The other one has said nothing for as long, but has a minute. It still says that it is waited for.
    say(&begun, &ClientToOpener::Waiting);
    say(&begun, &ClientToOpener::End);
    let last = std::iter::from_fn(|| told(begun.socket()))
        .find(|message| !matches!(message, OpenerToClient::Progress(_)));
    assert!(matches!(last, Some(OpenerToClient::Done(_))), "{last:?}");
}

#[test]
fn to_wait_is_said_within_a_scan_only() {
    require_root!();
    let env = Env::start_spawned();
    let client = env.connect(&Caller::user(2000));
    say(&client, &ClientToOpener::Waiting);
    assert_eq!(told(client.socket()), None);
}
