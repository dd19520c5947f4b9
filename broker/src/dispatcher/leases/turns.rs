//! In which order those who wait are served.
//!
//! Runs in the dispatcher, as part of `Pool::plan`. Users take turns, and the openers of one user take
//! turns among themselves, so that who waits with many openers is not served before who waits with one.

use std::collections::BTreeMap;

use super::Demand;

/// Users whose last turn is remembered.
const REMEMBERED_MAX: usize = 1024;

/// Whose turn it was.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last turn of each user.
    last: BTreeMap<u32, u64>,
    turn: u64,
}

impl Turns {
    /// This user has been lent a worker.
    pub fn served(&mut self, uid: u32) {
        self.turn = self.turn.saturating_add(1);
        self.last.insert(uid, self.turn);
        if self.last.len() > REMEMBERED_MAX {
            let oldest = self.last.iter().min_by_key(|(_, turn)| **turn).map(|(uid, _)| *uid);
            oldest.and_then(|uid| self.last.remove(&uid));
        }
    }

    /// These demands, the next to be served first: of the user who holds fewest workers, then of the one
    /// whose last turn is longest ago; of one user's, the oldest. `held` tells what a user holds.
    pub fn order(&self, demands: &[Demand], held: impl Fn(u32) -> usize) -> Vec<Demand> {
        let mut order = demands.to_vec();
        order.sort_by_key(|demand| demand.since);
        let mut before: BTreeMap<u32, usize> = BTreeMap::new();
        let mut ranked: Vec<_> = order
            .into_iter()
            .map(|demand| {
                let uid = demand.caller_uid;
                let would_hold = before.entry(uid).or_insert_with(|| held(uid));
                let rank = (*would_hold, self.last.get(&uid).copied(), demand.since);
                *would_hold = would_hold.saturating_add(1);
                (rank, demand)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, demand)| demand).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::tests::demand;
    use super::*;

    fn uids(order: &[Demand]) -> Vec<u32> {
        order.iter().map(|demand| demand.caller_uid).collect()
    }

    #[test]
    fn many_old_demands_of_one_user_do_not_go_before_a_newcomer() {
        let start = Instant::now();
        let mut demands: Vec<Demand> =
            (0..60).map(|opener| demand(opener, 2000, 1, start)).collect();
        demands.push(demand(60, 2001, 1, start + Duration::from_secs(5)));
        let mut turns = Turns::default();
        assert_eq!(uids(&turns.order(&demands, |_| 0))[..3], [2000, 2001, 2000]);
        turns.served(2000);
        assert_eq!(uids(&turns.order(&demands, |_| 0))[..3], [2001, 2000, 2000]);
        turns.served(2001);
        assert_eq!(uids(&turns.order(&demands, |_| 0))[..3], [2000, 2001, 2000]);
    }

    #[test]
    fn who_holds_fewer_workers_comes_first_whoever_had_the_last_turn() {
        let now = Instant::now();
        let mut turns = Turns::default();
        turns.served(2001);
        let demands = [demand(1, 2000, 2, now), demand(2, 2001, 2, now)];
        let order = turns.order(&demands, |uid| usize::from(uid == 2000));
        assert_eq!(uids(&order), [2001, 2000]);
    }

    #[test]
    fn the_memory_of_turns_is_bounded() {
        let mut turns = Turns::default();
        (0..5000).for_each(|uid| turns.served(uid));
        assert_eq!(turns.last.len(), REMEMBERED_MAX);
        assert!(turns.last.contains_key(&4999));
    }
}
