//! How many records one user may cause: in a minute, so many of each class. Pure.
//!
//! Beyond that records are counted instead of written, which is said when it begins and when the minute
//! is over. Matches have a share of their own, so that nobody hides one behind a crowd of others, and are
//! counted by user however many users there are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::auditor::plan::AuditFiles as Files;

/// For how long is counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Records of one user and class in a window, and their bytes.
const RECORDS_MAX: u64 = 6_000;
const BYTES_MAX: u64 = 4 << 20;
/// The same of files, when records of all were asked for.
const ALL_RECORDS_MAX: u64 = 6_000_000;
const ALL_BYTES_MAX: u64 = 4 << 30;
/// How often it is looked for windows that are over.
const SWEEP: Duration = Duration::from_secs(1);
/// Users that are counted one by one; further ones together, and of matches those with the fewest not at all.
const USERS_MAX: usize = 4_096;

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Connections, scans and targets.
    Requests,
    /// Files that matched.
    Matches,
    /// Other files.
    Files,
}

impl Class {
    /// The word for it in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Matches => "matches",
            Self::Files => "files",
        }
    }
}

/// Whether a record is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Passage {
    /// It is, like this.
    Written(Vec<u8>),
    /// It is the first of its window that is not, which is to be told.
    FirstSuppressed,
    /// It is not.
    Suppressed,
}

/// How many were not written in a window that is over: of which user (none: of several), class, number.
pub type Suppressed = (Option<u32>, Class, u64);

#[derive(Debug)]
struct Window {
    began: Instant,
    records: u64,
    bytes: u64,
    suppressed: u64,
}

type Windows = BTreeMap<(Option<u32>, Class), Window>;

/// All windows.
#[derive(Debug)]
pub struct Quota {
    windows: Windows,
    /// Those of matches.
    matches: Windows,
    /// What was suppressed in windows that were forgotten.
    forgotten: Vec<Suppressed>,
    files: (u64, u64),
    /// When a window may be over next.
    sweep_at: Option<Instant>,
}

impl Quota {
    /// With nothing counted.
    #[must_use]
    pub fn new(files: Files) -> Self {
        let all = (ALL_RECORDS_MAX, ALL_BYTES_MAX);
        let files = if files == Files::All { all } else { (RECORDS_MAX, BYTES_MAX) };
        Self {
            windows: Windows::new(),
            matches: Windows::new(),
            forgotten: Vec::new(),
            files,
            sweep_at: None,
        }
    }

    /// Counts a record, which is rendered only if it is to be written: nobody has it done in vain. The last
    /// one may exceed the bound on bytes.
    pub fn count(
        &mut self,
        (uid, class): (u32, Class),
        now: Instant,
        render: impl FnOnce() -> Vec<u8>,
    ) -> Passage {
        let (records_max, bytes_max) = match class {
            Class::Files => self.files,
            Class::Requests | Class::Matches => (RECORDS_MAX, BYTES_MAX),
        };
        let matches = class == Class::Matches;
        let windows = if matches { &mut self.matches } else { &mut self.windows };
        let full = windows.len() >= USERS_MAX && !windows.contains_key(&(Some(uid), class));
        if full && matches {
            self.forgotten.extend(forget_least(windows));
        }
        let owner = Some(uid).filter(|_| matches || !full);
        let fresh = Window { began: now, records: 0, bytes: 0, suppressed: 0 };
        let window = windows.entry((owner, class)).or_insert(fresh);
        self.sweep_at = self.sweep_at.or_else(|| now.checked_add(WINDOW));
        if window.records < records_max && window.bytes < bytes_max {
            let rendered = render();
            let bytes = u64::try_from(rendered.len()).unwrap_or(u64::MAX);
            window.records = window.records.saturating_add(1);
            window.bytes = window.bytes.saturating_add(bytes);
            return Passage::Written(rendered);
        }
        window.suppressed = window.suppressed.saturating_add(1);
        if window.suppressed == 1 { Passage::FirstSuppressed } else { Passage::Suppressed }
    }

    /// Windows that are over, or all of them, in which something was suppressed.
    pub fn over(&mut self, now: Instant, all: bool) -> Vec<Suppressed> {
        let mut told = std::mem::take(&mut self.forgotten);
        if !all && self.sweep_at.is_none_or(|at| now < at) {
            return told;
        }
        for windows in [&mut self.windows, &mut self.matches] {
            windows.retain(|(uid, class), window| {
                let over = all || now.saturating_duration_since(window.began) >= WINDOW;
                if over && window.suppressed > 0 {
                    told.push((*uid, *class, window.suppressed));
                }
                !over
            });
        }
        let left = || self.windows.values().chain(self.matches.values());
        let next = left().filter_map(|window| window.began.checked_add(WINDOW));
        self.sweep_at = next.min().max(now.checked_add(SWEEP)).filter(|_| left().next().is_some());
        told
    }

    /// When that is to be asked next.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.sweep_at
    }
}

/// Forgets the window with the fewest records: at worst its user causes so many once more.
fn forget_least(windows: &mut Windows) -> Option<Suppressed> {
    let order = |window: &Window| (window.suppressed > 0, window.records);
    let least = windows.iter().min_by_key(|(_, window)| order(window)).map(|(key, _)| *key)?;
    let window = windows.remove(&least)?;
    (window.suppressed > 0).then_some((least.0, least.1, window.suppressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(quota: &mut Quota, whose: (u32, Class), bytes: usize, now: Instant) -> Passage {
        quota.count(whose, now, || vec![b'x'; bytes])
    }

    fn is_written(q: &mut Quota, whose: (u32, Class), bytes: usize, now: Instant) -> bool {
        matches!(count(q, whose, bytes, now), Passage::Written(_))
    }

    fn fill(quota: &mut Quota, uid: u32, class: Class, records: u64, now: Instant) -> u64 {
        let written = |_: &u64| is_written(quota, (uid, class), 100, now);
        u64::try_from((0..records).filter(written).count()).unwrap()
    }

    #[test]
    fn what_is_suppressed_is_told_at_once_and_counted_to_the_end() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        assert_eq!(fill(&mut quota, 7, Class::Requests, RECORDS_MAX, now), RECORDS_MAX);
        assert_eq!(count(&mut quota, (7, Class::Requests), 1, now), Passage::FirstSuppressed);
        assert_eq!(count(&mut quota, (7, Class::Requests), 1, now), Passage::Suppressed);
        assert_eq!(quota.over(now, false), []);
        assert_eq!(quota.next_event(), now.checked_add(WINDOW));
        assert_eq!(quota.over(now + WINDOW, false), [(Some(7), Class::Requests, 2)]);
        assert!(is_written(&mut quota, (7, Class::Requests), 1, now + WINDOW));
    }

    #[test]
    fn a_crowd_of_other_records_hides_no_match_and_nobody_elses() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        fill(&mut quota, 7, Class::Files, RECORDS_MAX * 2, now);
        assert_eq!(count(&mut quota, (7, Class::Files), 1, now), Passage::Suppressed);
        assert!(is_written(&mut quota, (7, Class::Matches), 1, now));
        assert!(is_written(&mut quota, (8, Class::Files), 1, now));
    }

    #[test]
    fn a_crowd_of_users_hides_no_match_of_another() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        let crowd = 1_000..1_000 + u32::try_from(2 * USERS_MAX).unwrap();
        for uid in crowd.clone() {
            assert!(is_written(&mut quota, (uid, Class::Matches), 1, now));
        }
        fill(&mut quota, crowd.end - 1, Class::Matches, RECORDS_MAX, now);
        fill(&mut quota, crowd.end, Class::Matches, RECORDS_MAX + 2, now);
        assert_eq!(fill(&mut quota, 7, Class::Matches, 10, now), 10);
        assert_eq!(quota.matches.len(), USERS_MAX);
        // Nor do they hide how many were suppressed.
        let [(Some(_), Class::Matches, 1), (Some(last), Class::Matches, 2)] =
            quota.over(now, true)[..]
        else {
            panic!("not told");
        };
        assert_eq!(last, crowd.end);
        // When all are full, one makes room and says so.
        for uid in crowd.start..crowd.start + u32::try_from(USERS_MAX).unwrap() {
            fill(&mut quota, uid, Class::Matches, RECORDS_MAX + 1, now);
        }
        assert!(is_written(&mut quota, (7, Class::Matches), 1, now));
        assert_eq!(quota.over(now, false), [(Some(crowd.start), Class::Matches, 1)]);
    }

    #[test]
    fn what_is_suppressed_is_not_even_rendered() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        fill(&mut quota, 7, Class::Files, RECORDS_MAX, now);
        let passage = quota.count((7, Class::Files), now, || unreachable!("it is not written"));
        assert_eq!(passage, Passage::FirstSuppressed);
    }

    #[test]
    fn long_names_count_by_their_bytes() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        let mut written = 0;
        while is_written(&mut quota, (7, Class::Files), 16 * 1024, now) {
            written += 1;
        }
        assert_eq!(written, BYTES_MAX / (16 * 1024));
    }

    #[test]
    fn more_users_than_are_counted_apart_are_counted_together() {
        let (mut quota, now) = (Quota::new(Files::Findings), Instant::now());
        for uid in 0..10_000 {
            let _ = count(&mut quota, (uid, Class::Requests), 1, now);
        }
        assert_eq!(quota.windows.len(), USERS_MAX + 1);
        for uid in 0..10_000 {
            let _ = fill(&mut quota, uid, Class::Requests, 1, now);
        }
        fill(&mut quota, 9_999, Class::Requests, RECORDS_MAX, now);
        assert!(matches!(quota.over(now, true)[..], [(None, Class::Requests, _)]));
    }
}
