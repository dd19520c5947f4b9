//! What it costs a caller to lose workers.
//!
//! Runs in the dispatcher, pure bookkeeping. Each worker that is lost through what it was given (it
//! crashed, exited, overran or misbehaved) scores a point for the caller that it was lent to, root
//! included. Few points cost nothing. A caller with more waits before it gets its next worker, a little
//! longer each time, and has one worker at a time, so that it cannot keep the others' processors
//! busy with forks. Points are forgotten with time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fdbroker_common::admin_link::PENALISED_MAX;

/// Points that cost nothing: a file that crashes scores two or three.
const FREE: u32 = 8;
/// More points than this are not counted, so that the penalty ends within a bounded time.
const POINTS_MAX: u32 = 32;
/// One point is forgotten in this time.
const DECAY: Duration = Duration::from_secs(1);
/// How long the first point that is not free keeps a caller waiting; doubled with each further one.
const WAIT: Duration = Duration::from_millis(10);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Score {
    points: u32,
    /// When the last point was scored or forgotten.
    since: Instant,
    /// Until when no worker is lent.
    until: Instant,
}

impl Score {
    /// Without the points that are forgotten by now.
    fn at(self, now: Instant) -> Self {
        let forgotten = now.saturating_duration_since(self.since).as_secs() / DECAY.as_secs();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX).min(self.points);
        let since = self.since.checked_add(DECAY.saturating_mul(forgotten)).unwrap_or(now);
        Self { points: self.points.saturating_sub(forgotten), since, ..self }
    }

    fn excess(&self) -> u32 {
        self.points.saturating_sub(FREE)
    }
}

/// On what terms a caller gets workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Terms {
    /// Not before, if that is to come.
    pub not_before: Option<Instant>,
    /// So many at once.
    pub most: usize,
}

/// Callers that have lost workers lately.
#[derive(Debug, Default)]
pub struct Penalties {
    scores: BTreeMap<u32, Score>,
}

impl Penalties {
    /// A worker was lost while it was lent to this caller. True when this begins a penalty.
    pub fn record(&mut self, uid: u32, now: Instant) -> bool {
        self.scores.retain(|_, score| score.at(now).points > 0);
        if self.scores.len() >= PENALISED_MAX && !self.scores.contains_key(&uid) {
            let fewest = self.scores.iter().min_by_key(|(_, score)| score.at(now).points);
            if let Some(uid) = fewest.map(|(uid, _)| *uid) {
                self.scores.remove(&uid);
            }
        }
        let new = Score { points: 0, since: now, until: now };
        let score = self.scores.entry(uid).or_insert(new);
        *score = score.at(now);
        if score.points == 0 {
            score.since = now;
        }
        let before = score.excess();
        score.points = score.points.saturating_add(1).min(POINTS_MAX);
        if let Some(doublings) = score.excess().checked_sub(1) {
            let wait = WAIT.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX);
            score.until = now.checked_add(wait).unwrap_or(now);
        }
        before == 0 && score.excess() > 0
    }

    /// On what terms this caller gets workers now.
    pub fn terms(&self, uid: u32, now: Instant) -> Terms {
        match self.scores.get(&uid).map(|score| score.at(now)) {
            Some(score) if score.excess() > 0 => {
                Terms { not_before: Some(score.until).filter(|until| *until > now), most: 1 }
            }
            _ => Terms { not_before: None, most: usize::MAX },
        }
    }

    /// Who is penalised now.
    pub fn penalised(&self, now: Instant) -> impl Iterator<Item = u32> {
        let penalised = self.scores.iter().filter(move |(_, score)| score.at(now).excess() > 0);
        penalised.map(|(uid, _)| *uid)
    }

    /// When this caller's terms change.
    #[must_use]
    pub fn next_change(&self, uid: u32, now: Instant) -> Option<Instant> {
        let terms = self.terms(uid, now);
        let score = self.scores.get(&uid)?.at(now);
        let free = || score.since.checked_add(DECAY.saturating_mul(score.excess()));
        terms.not_before.or_else(|| free().filter(|_| terms.most == 1))
    }
}

#[cfg(test)]
#[path = "penalties_tests.rs"]
mod tests;
