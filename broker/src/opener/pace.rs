//! How fast a worker is, and so how soon it would get to what it is passed next.
//!
//! Runs in the opener, and decides only which worker gets a batch. A worker that lies about it, by
//! answering slowly, gets less to do.

use std::time::Duration;

/// What a file costs besides its bytes, as bytes: about what is read in the time of the calls for each file.
const FILE_BYTES: u64 = 16 * 1024;

/// Work that lies before a worker, as bytes to read.
#[must_use]
pub fn work(files: usize, bytes: u64) -> u64 {
    u64::try_from(files).unwrap_or(u64::MAX).saturating_mul(FILE_BYTES).saturating_add(bytes)
}

/// Time that work has taken lately: a running mean, for the opener hears now late, now soon.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    picoseconds_per_byte: Option<u64>,
}

impl Pace {
    /// So much work was done in this time.
    pub fn took(&mut self, work: u64, time: Duration) {
        let picoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(1000);
        let Some(sample) = picoseconds.checked_div(work) else {
            return;
        };
        self.picoseconds_per_byte = Some(match self.picoseconds_per_byte {
            None => sample,
            Some(mean) => mean.saturating_sub(mean / 4).saturating_add(sample / 4),
        });
    }

    /// Time that this work will take; `None` as long as nobody knows.
    #[must_use]
    pub fn time_for(self, work: u64) -> Option<Duration> {
        let picoseconds = self.picoseconds_per_byte?.saturating_mul(work);
        Some(Duration::from_nanos(picoseconds / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_anything_was_done() {
        let mut pace = Pace::default();
        assert_eq!(pace.time_for(1), None);
        pace.took(0, Duration::from_secs(1));
        assert_eq!(pace.time_for(1), None);
    }

    #[test]
    fn time_follows_the_latest_work_but_not_one_odd_sample() {
        let mut pace = Pace::default();
        let one = work(1, 6 * 1024);
        pace.took(16 * one, Duration::from_micros(16 * 5));
        let before = pace.time_for(one).unwrap();
        assert!((4..=5).contains(&before.as_micros()), "{before:?}");
        pace.took(16 * one, Duration::ZERO);
        assert!(pace.time_for(one).unwrap() > before / 2);
        for _ in 0..40 {
            pace.took(16 * one, Duration::from_micros(16 * 75));
        }
        assert!(pace.time_for(one).unwrap() > Duration::from_micros(70));
    }

    #[test]
    fn a_large_file_is_more_work_than_a_small_one() {
        assert!(work(1, 1 << 20) > work(10, 0));
        assert!(work(usize::MAX, u64::MAX) == u64::MAX);
        let mut pace = Pace::default();
        pace.took(1, Duration::MAX);
        assert!(pace.time_for(u64::MAX).is_some(), "nothing overflows");
    }
}
