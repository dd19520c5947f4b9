//! What was asked for besides the outcome, below the line of a file: hash, tags, metadata, matches.
//!
//! Pure. Names come from the rules, data from the file: all is escaped, and stays on its line.

use std::fmt;

use fdbroker_common::client::Report;
use fdbroker_common::details::{DetailOptions, Details, MetaValue, PatternMatch, RuleFacts};
use fdbroker_common::escape::Escaped;
use fdbroker_common::outcome::Outcome;

/// What is shown of the details of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shows {
    /// SHA-256.
    pub hash: bool,
    /// Where patterns matched.
    pub strings: bool,
    /// Tags of rules.
    pub tags: bool,
    /// Metadata of rules.
    pub metadata: bool,
}

impl Shows {
    /// What must be asked for.
    #[must_use]
    pub fn options(self) -> DetailOptions {
        DetailOptions {
            sha256: self.hash,
            matches: self.strings,
            rules: self.tags || self.metadata,
        }
    }
}

/// Displays the lines below that of a report, each after a line break; nothing if nothing is known.
pub(super) struct Below<'a>(pub(super) &'a Report, pub(super) Shows);

impl fmt::Display for Below<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(details), shows) = (&self.0.details, self.1) else {
            return Ok(());
        };
        if let (true, Some(hash)) = (shows.hash, &details.sha256) {
            write!(out, "\n  sha256 {}", Hex(hash))?;
        }
        let Outcome::Match { rules } = &self.0.outcome else {
            return Ok(());
        };
        if shows.strings || shows.tags || shows.metadata {
            for (number, rule) in rules.iter().enumerate() {
                write!(out, "\n  {}", Escaped(rule.as_bytes()))?;
                if let Some(facts) = details.rules.get(number) {
                    write_facts(out, facts, shows)?;
                }
                for found in matches_of(details, number) {
                    write_match(out, found)?;
                }
            }
        }
        if details.cut { out.write_str("\n  (there is more)") } else { Ok(()) }
    }
}

/// The matches of a rule.
pub(super) fn matches_of(
    details: &Details,
    rule: usize,
) -> impl Iterator<Item = &PatternMatch> + '_ {
    details.matches.iter().filter(move |found| usize::try_from(found.rule) == Ok(rule))
}

fn write_facts(out: &mut fmt::Formatter<'_>, facts: &RuleFacts, shows: Shows) -> fmt::Result {
    if shows.tags && !facts.tags.is_empty() {
        let tags: Vec<String> =
            facts.tags.iter().map(|tag| Escaped(tag.as_bytes()).to_string()).collect();
        write!(out, " [{}]", tags.join(","))?;
    }
    if shows.metadata && !facts.metadata.is_empty() {
        out.write_str(" [")?;
        for (nth, (key, value)) in facts.metadata.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(out, "{comma}{}={}", Escaped(key.as_bytes()), Value(value))?;
        }
        out.write_str("]")?;
    }
    if facts.cut { out.write_str(" (there is more)") } else { Ok(()) }
}

fn write_match(out: &mut fmt::Formatter<'_>, found: &PatternMatch) -> fmt::Result {
    let PatternMatch { pattern, offset, length, data, .. } = found;
    write!(out, "\n    {offset:#x}:{length}:{}", Escaped(pattern.as_bytes()))?;
    if let Some(data) = data {
        let whole = u64::try_from(data.len()) == Ok(*length);
        write!(out, ": {}{}", Escaped(data), if whole { "" } else { " ..." })?;
    }
    Ok(())
}

/// Displays a value of metadata.
struct Value<'a>(&'a MetaValue);

impl fmt::Display for Value<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MetaValue::Integer(number) => write!(out, "{number}"),
            MetaValue::Float(bits) => write!(out, "{:?}", f64::from_bits(*bits)),
            MetaValue::Boolean(holds) => write!(out, "{holds}"),
            MetaValue::Text(text) => {
                write!(out, "\"{}\"", Escaped(text).to_string().replace('"', "\\\""))
            }
        }
    }
}

/// Displays bytes as hexadecimal digits.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A match with everything there is.
    pub(in super::super) fn report() -> Report {
        let key = str::to_owned;
        let place = |rule, offset, length, data: Option<&[u8]>| PatternMatch {
            rule,
            pattern: "$a".to_owned(),
            offset,
            length,
            data: data.map(|data| data.to_vec().into()),
        };
        let metadata = vec![
            (key("author"), MetaValue::Text(b"a\n\"b\xff".to_vec().into())),
            (key("score"), MetaValue::Integer(-5)),
            (key("weight"), MetaValue::Float(0.5_f64.to_bits())),
            (key("live"), MetaValue::Boolean(true)),
        ];
        let tags = vec![key("one"), key("two")];
        let details = Details {
            sha256: Some([0xab; 32]),
            rules: vec![RuleFacts { tags, metadata, cut: false }],
            matches: vec![
                place(0, 16, 3, Some(b"a\x1b\xff")),
                place(0, 32, 900, Some(b"abc")),
                place(1, 0, 4, None),
            ],
            cut: true,
        };
        let outcome = Outcome::Match { rules: vec!["A".to_owned(), "B".to_owned()] };
        Report {
            target: 0,
            path: "f".into(),
            size: 1000,
            outcome,
            details: Some(Box::new(details)),
        }
    }

    #[test]
    fn what_was_asked_for_stands_below_and_cannot_leave_its_line() {
        let all = Shows { hash: true, strings: true, tags: true, metadata: true };
        let lines = Below(&report(), all).to_string();
        let expected = [
            "",
            &format!("  sha256 {}", "ab".repeat(32)),
            "  A [one,two] [author=\"a\\n\\\"b\\xff\",score=-5,weight=0.5,live=true]",
            "    0x10:3:$a: a\\x1b\\xff",
            "    0x20:900:$a: abc ...",
            "  B",
            "    0x0:4:$a",
            "  (there is more)",
        ];
        assert_eq!(lines.split('\n').collect::<Vec<_>>(), expected);
        let hash = Shows { hash: true, ..Shows::default() };
        assert_eq!(Below(&report(), hash).to_string().lines().count(), 3);
        let tags = Shows { tags: true, ..Shows::default() };
        let lines = Below(&report(), tags).to_string();
        assert!(lines.contains("\n  A [one,two]\n") && !lines.contains("author"), "{lines}");
    }
}
