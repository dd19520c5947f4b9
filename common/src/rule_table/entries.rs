//! What rules say of themselves, behind their names in the table: tags, metadata, names of patterns.
//!
//! Written by a template before it has seen any file of a caller; read by an opener only when its client
//! asks. Each entry is its length as `u32` little endian, then a [`RuleEntry`] in the postcard format.

use serde::{Deserialize, Serialize};

use super::{RuleTableError, is_pattern_name};
use crate::details::RuleFacts;
use crate::limits::RULE_PATTERNS_MAX;

/// What one rule says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntry {
    /// Tags and metadata.
    pub facts: RuleFacts,
    /// Names of its patterns that are not private, in their order; those beyond
    /// [`RULE_PATTERNS_MAX`] are left out.
    pub patterns: Vec<String>,
}

/// The entries of all rules of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleEntries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RuleEntries {
    /// Writes entries in the order of the rules; none if that takes more bytes than these.
    #[must_use]
    pub fn encode(
        entries: impl IntoIterator<Item = RuleEntry>,
        bytes_max: usize,
    ) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for entry in entries {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; 4]);
            bytes = postcard::to_extend(&entry, bytes).ok()?;
            if bytes.len() > bytes_max {
                return None;
            }
            let length = u32::try_from(bytes.len().checked_sub(start)?.checked_sub(4)?).ok()?;
            bytes.get_mut(start..)?.get_mut(..4)?.copy_from_slice(&length.to_le_bytes());
        }
        Some(bytes)
    }

    /// Takes the entries of so many rules apart; what they say is looked at when one is asked for.
    ///
    /// # Errors
    /// [`RuleTableError::Malformed`].
    pub fn decode(bytes: Vec<u8>, rules: usize) -> Result<Self, RuleTableError> {
        let mut ends = Vec::new();
        let mut at = 0_usize;
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (_, after) = after
                .split_at_checked(length)
                .ok_or(RuleTableError::Malformed("an entry too short"))?;
            at = at.saturating_add(4).saturating_add(length);
            ends.push(at);
            rest = after;
        }
        if !rest.is_empty() || ends.len() != rules {
            return Err(RuleTableError::Malformed("other entries than rules"));
        }
        Ok(Self { bytes, ends })
    }

    /// The entry of a rule; none beyond the last one, or if it is malformed.
    #[must_use]
    pub fn entry(&self, rule: u32) -> Option<RuleEntry> {
        let rule = usize::try_from(rule).ok()?;
        let end = *self.ends.get(rule)?;
        let start = rule.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        let bytes = self.bytes.get(start..end)?.get(4..)?;
        let (entry, rest) = postcard::take_from_bytes::<RuleEntry>(bytes).ok()?;
        let names = entry.patterns.iter().all(|name| is_pattern_name(name));
        let bounded = names && entry.patterns.len() <= RULE_PATTERNS_MAX;
        (rest.is_empty() && bounded && entry.facts.check().is_ok()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::details::MetaValue;

    fn entry(tag: &str, pattern: &str) -> RuleEntry {
        let text = MetaValue::Text(b"a\xff\n".to_vec().into());
        RuleEntry {
            facts: RuleFacts {
                tags: vec![tag.to_owned()],
                metadata: vec![("key".to_owned(), text)],
                cut: false,
            },
            patterns: vec![pattern.to_owned()],
        }
    }

    #[test]
    fn entries_come_back_in_order_or_not_at_all() {
        let all = [entry("one", "$a"), RuleEntry::default(), entry("three", "$")];
        let bytes = RuleEntries::encode(all.clone(), 1 << 20).unwrap();
        let entries = RuleEntries::decode(bytes.clone(), 3).unwrap();
        for (number, expected) in (0..).zip(&all) {
            assert_eq!(entries.entry(number).as_ref(), Some(expected));
        }
        assert_eq!(entries.entry(3), None);
        assert_eq!(RuleEntries::encode(all, bytes.len() - 1), None);
        assert!(RuleEntries::decode(bytes.clone(), 2).is_err());
        for length in 0..bytes.len() {
            assert!(RuleEntries::decode(bytes[..length].to_vec(), 3).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn an_entry_beyond_a_bound_is_none() {
        for bad in [entry("a b", "$a"), entry("a", "a"), entry("a", "$a\n"), entry("", "$a")] {
            let bytes = RuleEntries::encode([bad], 1 << 20).unwrap();
            assert_eq!(RuleEntries::decode(bytes, 1).unwrap().entry(0), None);
        }
        let mut many = entry("a", "$a");
        many.patterns = vec!["$a".to_owned(); RULE_PATTERNS_MAX + 1];
        let bytes = RuleEntries::encode([many], 1 << 20).unwrap();
        assert_eq!(RuleEntries::decode(bytes, 1).unwrap().entry(0), None);
    }
}
