//! Openers and places to wait for one, per user. Callers stop their own openers here, which they may: so
//! nothing depends on time.

use std::collections::BTreeSet;

use fdbroker_common::limits::{
    CONNECTIONS_WAITING_PER_UID_MAX, OPENERS_FOR_ROOT, OPENERS_MAX, OPENERS_PER_UID_MAX,
};
use fdbroker_common::refusal::Refusal;
use fdbroker_tests::{Caller, Crowd, Env, proc, require_root, wait_until};
use nix::sys::signal::Signal;

use crate::{assert_refused, assert_served, signal};

/// Stops every opener there is, once the broker has so many connections.
fn stop_openers(env: &Env, connections: usize) -> BTreeSet<u32> {
    let mut stopped = BTreeSet::new();
    wait_until("all openers are stopped", || {
        for opener in env.named("fdb-opener") {
            if stopped.insert(opener) {
                signal(opener, Signal::SIGSTOP);
            }
        }
        let settled = proc::descriptor_count(env.broker().pid()) >= connections;
        (settled && stopped.len() >= env.status().openers.len()).then_some(())
    });
    stopped
}

#[test]
fn four_users_who_take_all_openers_they_can_keep_nobody_else_waiting() {
    require_root!();
    let env = Env::start_spawned();
    let crowd = |uid| Crowd::open(&Caller::user(uid), &env.client_socket(), 80);
    let crowds: Vec<Crowd> = (2100..2104).map(crowd).collect();
    let stopped = stop_openers(&env, 4 * 80);
    // Far more than one user may have, and far less than all.
    let all = OPENERS_MAX - OPENERS_FOR_ROOT;
    assert!((2 * OPENERS_PER_UID_MAX..all).contains(&stopped.len()), "{}", stopped.len());
    for uid in [2200, 2201, 0] {
        assert_served(&env, uid);
    }
    drop(crowds);
    for opener in stopped {
        signal(opener, Signal::SIGKILL);
    }
    wait_until("no opener works", || {
        env.status().openers.iter().all(|opener| !opener.busy).then_some(())
    });
    assert_served(&env, 2100);
}

#[test]
fn a_user_whose_openers_all_hang_is_refused_at_the_cap_and_served_when_they_are_gone() {
    require_root!();
    let env = Env::start_spawned();
    let user = Caller::user(2100);
    assert_served(&env, 2000);
    let broker = env.broker().pid();
    let before = proc::descriptor_count(broker);
    let hung = Crowd::open(&user, &env.client_socket(), OPENERS_PER_UID_MAX);
    let stopped = stop_openers(&env, OPENERS_PER_UID_MAX);
    let waiting = Crowd::open(&user, &env.client_socket(), CONNECTIONS_WAITING_PER_UID_MAX);
    let full = before + OPENERS_PER_UID_MAX + CONNECTIONS_WAITING_PER_UID_MAX;
    // An idle opener more or less: that of the first scan.
    wait_until("all wait", || (proc::descriptor_count(broker) + 2 >= full).then_some(()));
    for _ in 0..10 {
        assert_refused(env.connect(&user).socket(), Refusal::TooManyConnections);
    }
    assert_served(&env, 2200);
    assert_served(&env, 0);

    // Who does not wait any more is forgotten, though none of the openers has moved.
    drop(waiting);
    let few = before + OPENERS_PER_UID_MAX + 4;
    wait_until("none waits", || (proc::descriptor_count(broker) <= few).then_some(()));

    drop(hung);
    let (killed, continued): (Vec<u32>, Vec<u32>) = stopped.iter().partition(|pid| **pid % 2 == 0);
    killed.into_iter().for_each(|opener| signal(opener, Signal::SIGKILL));
    continued.into_iter().for_each(|opener| signal(opener, Signal::SIGCONT));
    assert_served(&env, 2100);
    wait_until("no opener works", || {
        env.status().openers.iter().all(|opener| !opener.busy).then_some(())
    });
}
