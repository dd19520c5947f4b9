//! What a client is told of a file besides its outcome, from the numbers of a worker.
//!
//! Runs in the opener. A worker is believed only in what was wanted of it, in patterns that exist, and in
//! places within the file; names, tags and metadata come from the table that its template has sealed.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use fdbroker_common::details::{DetailOptions, Details, PatternMatch, RuleFacts};
use fdbroker_common::job_link::{Answer, Evidence, Examined, Finding, Place, Wanted};
use fdbroker_common::limits::{MATCH_DATA_BYTES_MAX, MESSAGE_BYTES_MAX};
use fdbroker_common::rule_table::{RuleEntries, RuleTable};

/// Most bytes of details in one report, besides the hash.
const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// What is left free in a message for everything but a path, the names of rules and details.
const MARGIN_BYTES: usize = 4 * 1024;

/// What the rules of a generation say of themselves, read when it is asked for first.
#[derive(Debug, Default)]
pub struct Entries {
    table: Option<OwnedFd>,
    read: OnceCell<Option<RuleEntries>>,
}

impl Entries {
    /// Those in this table.
    #[must_use]
    pub fn of(table: OwnedFd) -> Self {
        Self { table: Some(table), read: OnceCell::new() }
    }

    /// None if the table does not say, or is malformed: then nothing is told.
    fn get(&self) -> Option<&RuleEntries> {
        let read = || RuleTable::read_entries(self.table.as_ref()?).ok()?;
        self.read.get_or_init(read).as_ref()
    }
}

/// What a worker has said of a file that it was passed, if it may say that; else none.
#[must_use]
pub fn vet(examined: Examined, wanted: Wanted, size: u64, entries: &Entries) -> Option<Examined> {
    let Examined { answer, mut evidence } = examined;
    // The hash is that of the whole file, and always there if it was wanted.
    let whole = answer.read == size
        && matches!(answer.finding, Finding::Clean | Finding::Match(_) | Finding::EngineError);
    if evidence.sha256.is_some() != (wanted.sha256 && whole) {
        return None;
    }
    let rules: &[u32] = match &answer.finding {
        Finding::Match(rules) if wanted.matches => rules,
        _ if evidence.places.is_empty() => return Some(Examined { answer, evidence }),
        _ => return None,
    };
    let within = |place: &Place| {
        let end = place.offset.checked_add(place.length);
        let quoted = if wanted.data { place.length.min(MATCH_DATA_BYTES_MAX as u64) } else { 0 };
        end.is_some_and(|end| end <= size)
            && u64::try_from(place.data.len()) == Ok(quoted)
            && rules.binary_search(&place.rule).is_ok()
    };
    if !evidence.places.iter().all(within) {
        return None;
    }
    let Some(entries) = entries.get() else {
        evidence.cut |= !evidence.places.is_empty();
        evidence.places.clear();
        return Some(Examined { answer, evidence });
    };
    for of_rule in evidence.places.chunk_by(|a, b| a.rule == b.rule) {
        // By pattern, so that the last is the highest.
        let (first, last) = (of_rule.first()?, of_rule.last()?);
        let patterns = entries.entry(first.rule)?.patterns.len();
        if usize::try_from(last.pattern).is_ok_and(|last| last >= patterns) {
            return None;
        }
    }
    Some(Examined { answer, evidence })
}

/// What is told, of rules of which so many are named, in a report whose path and names take so many bytes.
#[must_use]
pub fn details(
    (answer, evidence): (&Answer, Evidence),
    named: usize,
    options: DetailOptions,
    entries: &Entries,
    report_bytes: usize,
) -> Details {
    let mut details = Details { sha256: evidence.sha256, cut: evidence.cut, ..Details::default() };
    let Finding::Match(rules) = &answer.finding else {
        return details;
    };
    let rules = rules.get(..named).unwrap_or(rules);
    let mut room = MESSAGE_BYTES_MAX
        .saturating_sub(MARGIN_BYTES)
        .saturating_sub(report_bytes)
        .min(DETAILS_BYTES_MAX);
    let mut take = |bytes: usize| room.checked_sub(bytes).map(|left| room = left).is_some();
    let mut places = evidence.places.into_iter().peekable();
    for (number, rule) in (0_u32..).zip(rules) {
        let entry = entries.get().and_then(|entries| entries.entry(*rule));
        let patterns = entry.as_ref().map_or(&[][..], |entry| &entry.patterns);
        while let Some(place) = places.next_if(|place| place.rule == *rule) {
            let name = usize::try_from(place.pattern).ok().and_then(|it| patterns.get(it));
            let found = name.map(|name| pattern_match(number, name, place));
            match found.filter(|found| take(found.message_bytes())) {
                Some(found) => details.matches.push(found),
                None => details.cut = true,
            }
        }
        if options.rules && details.rules.len() == number as usize {
            let cut = RuleFacts { cut: true, ..RuleFacts::default() };
            let facts = entry.map_or(cut, |entry| entry.facts);
            if take(facts.message_bytes()) {
                details.rules.push(facts);
            } else {
                details.cut = true;
            }
        }
    }
    details.cut |= places.next().is_some();
    details
}

fn pattern_match(rule: u32, name: &str, place: Place) -> PatternMatch {
    // A match is never empty, so no data means that none may be told.
    let data = (!place.data.is_empty()).then_some(place.data);
    PatternMatch {
        rule,
        pattern: name.to_owned(),
        offset: place.offset,
        length: place.length,
        data,
    }
}
