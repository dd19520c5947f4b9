//! What one user may have of the pool: one worker at a time when penalised, none when workers hang.

use std::time::{Duration, Instant};

use fdbroker_common::limits::{LEASE_QUANTUM, WORKER_END};

use super::stuck::{STUCK_MAX, STUCK_PER_UID_MAX, STUCK_SHARED_MAX};
use super::tests::{arrive, demand, lent, pool};
use super::{Act, Demand, Pool, WorkerId};

fn limited(opener: u32, caller_uid: u32, want: usize, since: Instant) -> Demand {
    Demand { most: 1, ..demand(opener, caller_uid, want, since) }
}

/// What is done for these demands, fresh workers having come.
fn step(pool: &mut Pool, demands: &[Demand], now: Instant) -> Vec<Act> {
    let mut acts = pool.plan(demands, now);
    arrive(pool, &acts);
    let held: Vec<u32> = lent(&acts).iter().map(|(_, opener, _)| *opener).collect();
    let left: Vec<Demand> =
        demands.iter().filter(|demand| !held.contains(&demand.opener)).copied().collect();
    let more = pool.plan(&left, now);
    arrive(pool, &more);
    acts.extend(more);
    acts
}

/// Lends a worker to a new opener of this user, which returns it, or has it ended, to no avail.
fn hang(pool: &mut Pool, uid: u32, discards: bool, now: Instant) -> WorkerId {
    let opener = 1_000_000 + uid;
    let acts = step(pool, &[demand(opener, uid, 1, now)], now);
    let (id, _, lease) = lent(&acts)[0];
    if discards {
        assert_eq!(pool.discard(opener, lease, now), Some(id));
        assert!(step(pool, &[], now + WORKER_END).contains(&Act::Abandon(opener, lease)));
    } else {
        pool.ending(id, now);
    }
    id
}

#[test]
fn who_is_limited_to_one_worker_gets_one_whatever_its_openers_want() {
    let now = Instant::now();
    let mut pool = pool(4, now);
    let wants = [limited(1, 2000, 4, now), limited(2, 2000, 4, now), demand(3, 2001, 4, now)];
    let lent = lent(&pool.plan(&wants, now));
    let of = |opener| lent.iter().filter(|(_, other, _)| *other == opener).count();
    assert_eq!([of(1), of(2), of(3)], [1, 0, 3]);
}

#[test]
fn the_openers_of_a_limited_user_take_turns_at_nobody_elses_cost() {
    let now = Instant::now();
    let mut pool = pool(4, now);
    let others = lent(&pool.plan(&[demand(3, 2001, 3, now)], now));
    let own = lent(&step(&mut pool, &[limited(1, 2000, 1, now)], now))[0];
    assert_eq!(others.len(), 3);
    let waits = [limited(2, 2000, 1, now)];
    let recalls = |acts: &[Act]| -> Vec<Act> {
        acts.iter().filter(|act| matches!(act, Act::Recall(..))).copied().collect()
    };
    assert_eq!(recalls(&step(&mut pool, &waits, now)), []);
    let later = now + LEASE_QUANTUM;
    assert_eq!(recalls(&step(&mut pool, &waits, later)), [Act::Recall(1, own.2)]);
    assert_eq!(recalls(&step(&mut pool, &waits, later)), [], "once is enough");
    pool.ending(own.0, later);
    let acts = step(&mut pool, &waits, later);
    assert_eq!(lent(&acts).iter().map(|(_, opener, _)| *opener).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_user_on_whose_files_workers_hang_gets_no_more_until_one_has_ended() {
    let now = Instant::now();
    for discards in [true, false] {
        let mut pool = pool(2, now);
        let hanging: Vec<WorkerId> =
            (0..STUCK_PER_UID_MAX).map(|_| hang(&mut pool, 2000, discards, now)).collect();
        assert_eq!(pool.stuck(now + WORKER_END - Duration::from_millis(1)), 0, "they may yet end");
        let later = now + WORKER_END;
        assert_eq!(pool.blocked(2000, later).unwrap().stuck, STUCK_PER_UID_MAX);
        assert_eq!(pool.blocked(2001, later), None, "nobody else is");
        assert_eq!(pool.ended(hanging[0], later), None);
        assert_eq!(pool.blocked(2000, later), None);
    }
}

#[test]
fn workers_that_hang_take_nothing_from_what_others_may_have() {
    let now = Instant::now();
    let mut pool = pool(2, now);
    for _ in 0..10 {
        hang(&mut pool, 2000, true, now);
    }
    let later = now + WORKER_END;
    let wants = [demand(1, 2001, 1, later), demand(2, 2001, 1, later)];
    assert_eq!(lent(&step(&mut pool, &wants, later)).len(), 2);
}

#[test]
fn workers_that_hang_are_bounded_in_all() {
    let now = Instant::now();
    let later = now + WORKER_END;
    let mut pool = pool(1, now);
    let mut uid = 2000;
    while pool.blocked(uid, later).is_none() {
        hang(&mut pool, uid, false, now);
        let own = if pool.stuck(later) < STUCK_SHARED_MAX { None } else { Some(1) };
        assert_eq!(pool.blocked(uid, later).map(|blocked| blocked.stuck), own);
        uid += 1;
    }
    assert_eq!(pool.stuck(later), STUCK_MAX);
    assert_eq!(pool.blocked(0, later).unwrap().stuck, 0, "not even root");
}

#[test]
fn a_worker_that_may_hang_wakes_the_dispatcher_once() {
    let now = Instant::now();
    let mut pool = pool(1, now);
    hang(&mut pool, 2000, false, now);
    step(&mut pool, &[], now);
    assert_eq!(pool.next_event(false), Some(now + WORKER_END));
}

#[test]
fn a_template_hangs_when_all_its_workers_do() {
    let now = Instant::now();
    let later = now + WORKER_END;
    let mut pool = pool(1, now);
    let stuck = hang(&mut pool, 2000, false, now);
    let busy = lent(&pool.plan(&[demand(1, 2001, 1, now)], now));
    step(&mut pool, &[], now);
    assert!(!pool.hangs(1, later));
    for id in pool.of_template(1).into_iter().filter(|id| *id != stuck) {
        pool.ending(id, later);
        pool.ended(id, later);
    }
    assert!(busy.len() <= 1 && pool.hangs(1, later) && !pool.hangs(2, later));
}

#[test]
fn a_newcomer_is_served_before_the_many_old_demands_of_another_user() {
    let start = Instant::now();
    let mut pool = pool(1, start);
    let old: Vec<Demand> = (1..=60).map(|opener| demand(opener, 2000, 1, start)).collect();
    let first = lent(&step(&mut pool, &old, start))[0];
    let mut waiting: Vec<Demand> = old.into_iter().filter(|one| one.opener != first.1).collect();
    waiting.push(demand(61, 2001, 1, start + Duration::from_millis(1)));
    pool.ending(first.0, start);
    assert_eq!(lent(&step(&mut pool, &waiting, start))[0].1, 61);
}
