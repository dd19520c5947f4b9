//! What the penalties promise: few losses are free, many cost little, all are forgotten.

use std::time::{Duration, Instant};

use fdbroker_common::admin_link::PENALISED_MAX;

use super::{DECAY, FREE, POINTS_MAX, Penalties, Terms, WAIT_MAX};

const FREELY: Terms = Terms { not_before: None, most: usize::MAX };

fn lose(penalties: &mut Penalties, uid: u32, count: u32, now: Instant) {
    for _ in 0..count {
        penalties.record(uid, now);
    }
}

#[test]
fn a_handful_of_crashing_files_costs_nothing() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    for _ in 0..FREE {
        assert!(!penalties.record(2000, now));
        assert_eq!(penalties.terms(2000, now), FREELY);
    }
    assert_eq!(penalties.penalised(now).count(), 0);
}

#[test]
fn further_losses_make_a_caller_wait_ever_longer_up_to_a_bound() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    lose(&mut penalties, 2000, FREE, now);
    let mut before = Duration::ZERO;
    for nth in 0..100 {
        assert_eq!(penalties.record(2000, now), nth == 0, "a penalty begins once");
        let Terms { not_before, most } = penalties.terms(2000, now);
        let wait = not_before.unwrap() - now;
        assert!(wait >= before && (nth > 4 || wait > before) && wait <= WAIT_MAX, "{wait:?}");
        assert_eq!(most, 1);
        before = wait;
    }
    assert_eq!(before, WAIT_MAX);
    // Having waited, it gets one worker, at once.
    let waited = now + WAIT_MAX;
    assert_eq!(penalties.terms(2000, waited), Terms { not_before: None, most: 1 });
}

#[test]
fn nobody_else_pays_and_root_is_no_exception() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    lose(&mut penalties, 0, 100, now);
    assert_eq!(penalties.terms(0, now).most, 1);
    assert_eq!(penalties.terms(2000, now), FREELY);
    assert_eq!(penalties.penalised(now).collect::<Vec<_>>(), [0]);
}

#[test]
fn losses_are_forgotten_with_time() {
    let start = Instant::now();
    let mut penalties = Penalties::default();
    lose(&mut penalties, 2000, 1_000_000, start);
    let mut now = start;
    let mut changes = 0;
    while penalties.terms(2000, now) != FREELY {
        let next = penalties.next_change(2000, now).unwrap();
        assert!(next > now, "no event that is over already");
        now = next;
        changes += 1;
    }
    assert_eq!(changes, 2, "the wait ends, then the penalty");
    assert_eq!(now, start + DECAY * (POINTS_MAX - FREE));
    assert_eq!(penalties.next_change(2000, now), None);
}

#[test]
fn losses_that_come_slowly_are_never_penalised_and_ones_that_come_fast_always() {
    for (gap, penalised) in [(DECAY * 3 / 2, false), (DECAY * 9 / 10, true), (DECAY / 4, true)] {
        let mut now = Instant::now();
        let mut penalties = Penalties::default();
        for _ in 0..200 {
            penalties.record(2000, now);
            now += gap;
        }
        assert_eq!(penalties.terms(2000, now) != FREELY, penalised, "one each {gap:?}");
    }
}

#[test]
fn the_table_does_not_grow_beyond_its_bound_and_keeps_the_worst() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    lose(&mut penalties, 0, 20, now);
    for uid in 1..5_000 {
        penalties.record(uid, now);
        assert!(penalties.scores.len() <= PENALISED_MAX);
    }
    assert_eq!(penalties.terms(0, now).most, 1);
    // What is forgotten takes no room.
    penalties.record(1, now + DECAY * 100);
    assert_eq!(penalties.scores.len(), 1);
}
