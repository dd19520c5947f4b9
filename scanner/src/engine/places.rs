//! Where the patterns of rules matched, bounded.
//!
//! Pure; runs in a worker, only if somebody asked. Each pattern has its turn, so that one that matches
//! everywhere does not hide the others.

use fdbroker_common::job_link::Place;
use fdbroker_common::limits::{MATCH_DATA_BYTES_MAX, MATCHES_PER_FILE_MAX, RULE_PATTERNS_MAX};
use yara_x::{Match, Rule};

/// Where patterns matched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By rule, pattern and offset, without data.
    pub found: Vec<Place>,
    /// Whether there are more.
    pub cut: bool,
}

impl Places {
    /// Those of these rules, which come with their numbers.
    pub(super) fn of<'a, 'r: 'a>(rules: impl Iterator<Item = (u32, Rule<'a, 'r>)>) -> Self {
        let mut cut = false;
        let mut patterns = Vec::new();
        for (number, rule) in rules {
            cut |= rule.patterns().len() > RULE_PATTERNS_MAX;
            let numbered = (0_u32..).zip(rule.patterns().take(RULE_PATTERNS_MAX));
            patterns.extend(numbered.map(|(pattern, it)| (number, pattern, it.matches())));
        }
        let mut found = Vec::new();
        while !patterns.is_empty() && found.len() < MATCHES_PER_FILE_MAX {
            patterns.retain_mut(|(rule, pattern, matches)| match matches.next() {
                Some(_) if found.len() >= MATCHES_PER_FILE_MAX => {
                    cut = true;
                    true
                }
                Some(it) => {
                    found.push(place(*rule, *pattern, &it));
                    true
                }
                None => false,
            });
        }
        cut |= patterns.iter_mut().any(|(_, _, matches)| matches.next().is_some());
        found.sort_unstable();
        Self { found, cut }
    }
}

fn place(rule: u32, pattern: u32, found: &Match<'_, '_>) -> Place {
    let range = found.range();
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Place {
        rule,
        pattern,
        offset: number(range.start),
        length: number(range.len()),
        data: Vec::new().into(),
    }
}

/// How each match begins.
pub fn quote(places: &mut [Place], data: &[u8]) {
    for place in places {
        let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let length = usize::try_from(place.length).unwrap_or(usize::MAX).min(MATCH_DATA_BYTES_MAX);
        let quoted = data.get(start..start.saturating_add(length)).unwrap_or_default();
        place.data = quoted.to_vec().into();
    }
}
