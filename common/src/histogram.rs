//! Durations, counted by their size.
//!
//! Pure. Kept by the dispatcher, told to administrators.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in milliseconds; a last bucket has what is longer.
pub const BOUNDS_MS: [u64; 10] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000, 300_000, 3_600_000];

/// Durations, counted by their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many were at most as long as each bound and longer than the one before; at last, longer.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// All together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let fits = |bound: &u64| took <= Duration::from_millis(*bound);
        let bucket = BOUNDS_MS.iter().position(fits).unwrap_or(BOUNDS_MS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us = self.sum_us.saturating_add(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_where_it_belongs() {
        let mut histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 3_600_000, 3_600_001] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.sum_us, 7_200_004_000);
    }
}
