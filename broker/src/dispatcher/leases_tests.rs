//! What the lease bookkeeping promises: no worker ever changes callers, nobody starves.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_common::limits::{
    LEASE_QUANTUM, RECALL_GRACE, RECALL_OVERDUE, SCANNER_ANSWER, WORKER_END,
};

use super::{Act, Demand, Pool, WorkerId};

pub(super) fn demand(opener: u32, caller_uid: u32, want: usize, since: Instant) -> Demand {
    Demand { opener, caller_uid, want, most: usize::MAX, since }
}

fn connection() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Carries out what a template would do at once.
pub(super) fn arrive(pool: &mut Pool, acts: &[Act]) {
    for act in acts {
        if let Act::Fork(id) = act {
            pool.arrived(*id, connection()).unwrap();
        }
    }
}

pub(super) fn lent(acts: &[Act]) -> Vec<(WorkerId, u32, u32)> {
    acts.iter()
        .filter_map(|act| match act {
            Act::Lend(id, opener, lease) => Some((*id, *opener, *lease)),
            _ => None,
        })
        .collect()
}

pub(super) fn pool(limit: usize, now: Instant) -> Pool {
    let mut pool = Pool::default();
    pool.set_template(Some(1), limit);
    let acts = pool.plan(&[], now);
    arrive(&mut pool, &acts);
    pool
}

#[test]
fn fresh_workers_stand_ready_before_anybody_asks() {
    let now = Instant::now();
    let mut pool = pool(2, now);
    let acts = pool.plan(&[demand(1, 2000, 2, now)], now);
    assert_eq!(lent(&acts).len(), 2);
}

#[test]
fn a_worker_never_serves_a_second_opener_not_even_of_the_same_user() {
    let now = Instant::now();
    let mut pool = pool(1, now);
    let mut seen = Vec::new();
    for opener in 0..10 {
        let acts = pool.plan(&[demand(opener, 2000, 1, now)], now);
        arrive(&mut pool, &acts);
        let (id, holder, _) = lent(&acts)[0];
        assert_eq!(holder, opener);
        assert!(!seen.contains(&id));
        seen.push(id);
        pool.ending(id, now);
        assert_eq!(pool.ended(id, now), None, "an ended worker is nobody's");
    }
}

#[test]
fn no_more_workers_are_lent_than_the_limit() {
    let now = Instant::now();
    let mut pool = pool(2, now);
    let demands = [demand(1, 2000, 2, now), demand(2, 2001, 2, now)];
    let acts = pool.plan(&demands, now);
    assert_eq!(lent(&acts).len(), 2);
    let openers: Vec<u32> = lent(&acts).iter().map(|(_, opener, _)| *opener).collect();
    assert_eq!(openers, [1, 2], "each gets one before any gets two");
}

#[test]
fn who_holds_two_gives_one_up_for_who_has_none() {
    let now = Instant::now();
    let mut pool = pool(2, now);
    let mine = lent(&pool.plan(&[demand(1, 2000, 2, now)], now));
    let acts = pool.plan(&[demand(2, 2001, 1, now)], now);
    let recalled: Vec<_> = acts.iter().filter(|act| matches!(act, Act::Recall(1, _))).collect();
    assert_eq!(recalled.len(), 1);
    assert!(mine.iter().any(|(_, _, lease)| *recalled[0] == Act::Recall(1, *lease)));
    let again = pool.plan(&[demand(2, 2001, 1, now)], now);
    assert!(!again.iter().any(|act| matches!(act, Act::Recall(..))), "once is enough");
}

#[test]
fn who_holds_one_keeps_it_for_its_quantum() {
    let now = Instant::now();
    let mut pool = pool(1, now);
    let mine = lent(&pool.plan(&[demand(1, 2000, 1, now)], now))[0];
    let waiting = [demand(2, 2001, 1, now)];
    assert!(!pool.plan(&waiting, now).contains(&Act::Recall(1, mine.2)));
    let later = now + LEASE_QUANTUM;
    assert!(pool.plan(&waiting, later).contains(&Act::Recall(1, mine.2)));
    assert!(
        pool.plan(&waiting, later + RECALL_GRACE).contains(&Act::Kill(mine.0)),
        "not returned, so ended"
    );
}

#[test]
fn an_old_generation_finishes_what_it_has_and_gets_nothing_new() {
    let now = Instant::now();
    let mut pool = pool(2, now);
    let busy = lent(&pool.plan(&[demand(1, 2000, 1, now)], now))[0];
    pool.set_template(Some(2), 2);
    let acts = pool.plan(&[], now);
    assert!(!acts.contains(&Act::Kill(busy.0)), "a lent worker finishes its work");
    assert!(acts.iter().any(|act| matches!(act, Act::Kill((1, _)))));
    arrive(&mut pool, &acts);
    let next = lent(&pool.plan(&[demand(2, 2001, 1, now)], now));
    assert_eq!(next[0].0.0, 2);
}

#[test]
fn a_lent_worker_that_ends_is_told_to_its_opener() {
    let now = Instant::now();
    let mut pool = pool(1, now);
    let (id, opener, lease) = lent(&pool.plan(&[demand(7, 2000, 1, now)], now))[0];
    assert_eq!(pool.lent(opener, lease), Some(id));
    assert_eq!(pool.lent(8, lease), None, "another opener cannot speak for it");
    let ended = pool.ended(id, now).unwrap();
    assert_eq!((ended.opener, ended.lease, ended.discarded), (7, lease, false));
}

#[test]
fn a_worker_that_nobody_asked_for_is_refused() {
    let mut pool = pool(1, Instant::now());
    assert!(pool.arrived((1, 999), connection()).is_err());
}

#[test]
fn a_forgotten_quantum_wakes_the_broker() {
    let now = Instant::now();
    let mut pool = pool(1, now);
    let _ = pool.plan(&[demand(1, 2000, 1, now)], now);
    let at = pool.next_event(true).unwrap();
    assert!(at <= now + LEASE_QUANTUM + Duration::from_millis(1));
}

#[test]
fn workers_that_end_unused_are_replaced_ever_more_slowly() {
    let start = Instant::now();
    let mut pool = pool(1, start);
    let mut now = start;
    let mut forks = 0;
    while now < start + Duration::from_secs(10) {
        let acts = pool.plan(&[], now);
        for worker in pool.of_template(1) {
            pool.ended(worker, now);
        }
        forks += acts.iter().filter(|act| matches!(act, Act::Fork(_))).count();
        now = pool.next_event(false).unwrap_or(now + Duration::from_millis(1));
    }
    assert!((2..20).contains(&forks), "{forks} forks in ten seconds");
}

#[test]
fn who_does_not_return_what_was_recalled_does_not_hold_up_the_others() {
    let start = Instant::now();
    let mut pool = pool(2, start);
    let stopped = [demand(1, 2000, 1, start), demand(2, 2000, 1, start)];
    let acts = pool.plan(&stopped, start);
    arrive(&mut pool, &acts);
    assert_eq!(lent(&acts).len(), 2);
    let honest = [demand(3, 2001, 1, start)];
    let recalled = start + LEASE_QUANTUM;
    assert!(pool.plan(&honest, recalled).iter().any(|act| matches!(act, Act::Recall(..))));
    assert!(lent(&pool.plan(&honest, recalled)).is_empty());
    assert_eq!(lent(&pool.plan(&honest, recalled + RECALL_OVERDUE)).len(), 1);
}

#[test]
fn workers_that_are_not_returned_are_bounded() {
    let mut now = Instant::now();
    let mut pool = pool(2, now);
    let mut killed = 0;
    for caller in 0..40 {
        let wants = [demand(caller, 2000 + caller, 1, now)];
        for _ in 0..4 {
            let acts = pool.plan(&wants, now);
            arrive(&mut pool, &acts);
            for act in &acts {
                if let Act::Kill(id) = act {
                    killed += usize::from(pool.ended(*id, now).is_some());
                }
            }
            now += RECALL_OVERDUE;
        }
        assert!(pool.counts().1 <= 5, "{} lent", pool.counts().1);
    }
    assert!(killed > 20, "{killed} killed");
}

#[test]
fn a_template_that_does_not_fork_is_found_out() {
    let start = Instant::now();
    let mut pool = Pool::default();
    pool.set_template(Some(7), 1);
    let _ = pool.plan(&[], start);
    assert_eq!(pool.hung_template(start), None);
    assert_eq!(pool.hung_template(start + SCANNER_ANSWER), Some(7));
}

#[test]
fn an_opener_does_not_wait_for_a_worker_that_cannot_be_ended() {
    let start = Instant::now();
    let mut pool = pool(1, start);
    let (id, opener, lease) = lent(&pool.plan(&[demand(1, 2000, 1, start)], start))[0];
    assert_eq!(pool.discard(2, lease, start), None, "another opener cannot discard it");
    assert_eq!(pool.discard(opener, lease, start), Some(id));
    assert!(!pool.plan(&[], start).contains(&Act::Abandon(opener, lease)));
    assert!(pool.plan(&[], start + WORKER_END).contains(&Act::Abandon(opener, lease)));
    assert_eq!(pool.lent(opener, lease), None);
}
