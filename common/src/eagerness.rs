//! Looks for an answer for a moment before going to sleep, as long as that is of use.
//!
//! Runs in the opener and in programs of users. A processor that has gone to sleep takes longer to wake
//! up than a small file takes to judge. Whoever looks gives its processor away each time to anybody who
//! has use for it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long to look, and how often not to after it was in vain: a processor was of more use to somebody
/// else.
#[derive(Debug)]
pub struct Eagerness {
    moment: Duration,
    pauses: u32,
    discouraged: Cell<u32>,
}

impl Eagerness {
    /// Looks for so long, and after it was in vain goes to sleep so many times at once.
    #[must_use]
    pub const fn new(moment: Duration, pauses: u32) -> Self {
        Self { moment, pauses, discouraged: Cell::new(0) }
    }

    /// Whether it looks next time.
    #[must_use]
    pub fn is_hopeful(&self) -> bool {
        self.discouraged.get() == 0
    }

    /// Asks again and again, for a moment, if there is hope.
    pub fn look<T>(&self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        if !self.is_hopeful() {
            return None;
        }
        let begun = Instant::now();
        while begun.elapsed() < self.moment {
            if let Some(found) = ask() {
                return Some(found);
            }
            std::thread::yield_now();
        }
        self.discouraged.set(self.pauses);
        None
    }

    /// It goes to sleep where it could have looked.
    pub fn sleeps(&self) {
        self.discouraged.set(self.discouraged.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looked_in_vain_sleeps_for_a_while_and_then_looks_again() {
        let eagerness = Eagerness::new(Duration::from_micros(100), 3);
        let begun = Instant::now();
        assert_eq!(eagerness.look(|| None::<()>), None);
        assert!(begun.elapsed() >= Duration::from_micros(100), "it looks");
        for _ in 0..3 {
            assert!(!eagerness.is_hopeful());
            assert_eq!(eagerness.look(|| Some(())), None, "it does not look");
            eagerness.sleeps();
        }
        assert_eq!(eagerness.look(|| Some(())), Some(()), "it looks again");
    }

    #[test]
    fn what_is_found_encourages() {
        let eagerness = Eagerness::new(Duration::from_secs(60), 3);
        let mut asked = 0;
        let found = eagerness.look(|| {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(found, Some(3));
        assert!(eagerness.is_hopeful());
    }
}
