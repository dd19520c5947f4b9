//! Time as records tell it: RFC 3339, UTC, microseconds. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;

/// A moment after 1970; earlier ones are told as its beginning.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / DAY_S, since.as_secs() % DAY_S);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a day after 1 January 1970. Years are counted from March on, so that the day that
/// some of them lack is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era.saturating_mul(400).saturating_add(year).saturating_add(next), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_as_gnu_date_tells_them() {
        // date -u -d @SECONDS +%FT%T
        let known = [
            (0, "1970-01-01T00:00:00.000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000007Z"),
            (1_795_276_566, "2026-11-21T15:56:06.000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000007Z"),
        ];
        for (seconds, text) in known {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, 7_999)), text);
        }
    }

    #[test]
    fn every_day_of_five_hundred_years_follows_the_one_before_it() {
        let mut before = date(0);
        for days in 1..182_500 {
            let (year, month, day) = date(days);
            let next = match before {
                (y, m, d) if (y, m) == (year, month) => d + 1 == day,
                (y, m, d) => day == 1 && d >= 28 && (year * 12 + month) == (y * 12 + m) + 1,
            };
            assert!(next, "{before:?} {year}-{month}-{day}");
            before = (year, month, day);
        }
    }
}
