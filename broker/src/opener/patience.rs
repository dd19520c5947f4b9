//! How long a client may keep an opener waiting. Pure: it is told what happens and what time it is.
//!
//! Runs in the opener. A client that owes the next word is given a bounded time to say it; one that was
//! told something since its last word may still be reading, or its user a page of it, and gets more.

use std::time::{Duration, Instant};

use fdbroker_common::limits::{CLIENT_SILENCE_MAX, CLIENT_UNREAD_MAX, START_WAIT};

/// What is known of one client's silence.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Since when it has owed the next word, or has been stuck.
    since: Instant,
    owes: Owes,
    begun: bool,
    told: bool,
}

/// What keeps a session from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owes {
    /// Nothing: it is the opener's or a worker's turn.
    Nothing,
    /// The client is to say something.
    Word,
    /// The client is to read something.
    Reading,
}

impl Patience {
    /// With a client that has just come: it is to begin a scan.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, owes: Owes::Word, begun: false, told: false }
    }

    /// It said something.
    pub fn heard(&mut self, now: Instant) {
        *self = Self { since: now, begun: true, told: false, ..*self };
    }

    /// It took a message; reports take time to be read.
    pub fn took(&mut self, reports: bool, now: Instant) {
        self.told |= reports;
        if self.owes == Owes::Reading {
            self.since = now;
        }
    }

    /// What it owes now. True when it has owed that for too long.
    #[must_use]
    pub fn is_over(&mut self, owes: Owes, now: Instant) -> bool {
        if owes != self.owes {
            *self = Self { since: now, owes, ..*self };
        }
        self.deadline().is_some_and(|at| at <= now)
    }

    /// When it will have owed for too long, as things are.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.bound().and_then(|bound| self.since.checked_add(bound))
    }

    fn bound(&self) -> Option<Duration> {
        match self.owes {
            Owes::Nothing => None,
            Owes::Word if !self.begun => Some(START_WAIT),
            Owes::Word if !self.told => Some(CLIENT_SILENCE_MAX),
            Owes::Word | Owes::Reading => Some(CLIENT_UNREAD_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until it is over when nothing happens any more; none if that is never.
    fn lasts(mut patience: Patience, owes: Owes, from: Instant) -> Option<u32> {
        (0..10_000).find(|seconds| patience.is_over(owes, from + SECOND * *seconds))
    }

    #[test]
    fn a_client_that_begins_no_scan_has_ten_seconds() {
        let now = Instant::now();
        assert_eq!(lasts(Patience::new(now), Owes::Word, now), Some(10));
    }

    #[test]
    fn a_silent_client_has_a_minute_after_its_last_word() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let mut now = start;
        // Whoever says every ten seconds that it waits goes on for ever.
        for _ in 0..1000 {
            now += 10 * SECOND;
            patience.heard(now);
            assert!(!patience.is_over(Owes::Word, now));
        }
        assert_eq!(lasts(patience, Owes::Word, now), Some(60));
    }

    #[test]
    fn the_clock_stands_while_the_client_owes_nothing() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.heard(start);
        assert_eq!(lasts(patience, Owes::Nothing, start), None);
        assert!(!patience.is_over(Owes::Nothing, start + 3000 * SECOND));
        assert_eq!(patience.deadline(), None);
        let done = start + 4000 * SECOND;
        assert!(!patience.is_over(Owes::Word, done));
        assert_eq!(lasts(patience, Owes::Word, done), Some(60));
    }

    #[test]
    fn a_client_that_may_still_be_reading_has_ten_minutes() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        patience.heard(now);
        patience.took(false, now);
        assert_eq!(lasts(patience, Owes::Word, now), Some(60));
        patience.took(true, now);
        assert_eq!(lasts(patience, Owes::Word, now), Some(600));
        // Its next word shows that it has read them.
        patience.heard(now);
        assert_eq!(lasts(patience, Owes::Word, now), Some(60));
    }

    #[test]
    fn a_client_that_takes_nothing_has_ten_minutes_after_what_it_took_last() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.heard(start);
        assert!(!patience.is_over(Owes::Reading, start));
        let later = start + 500 * SECOND;
        assert!(!patience.is_over(Owes::Reading, later));
        patience.took(false, later);
        assert_eq!(lasts(patience, Owes::Reading, later), Some(600));
    }
}
