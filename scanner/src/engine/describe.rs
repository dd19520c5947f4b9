//! What the rules of a generation say of themselves, for the table that openers read.
//!
//! Pure; runs in a template before it is sealed. Names of patterns are in the order in which workers
//! number them: private ones are left out, here as there.

use fdbroker_common::details::{MetaValue, RuleFacts};
use fdbroker_common::limits::{
    META_TEXT_BYTES_MAX, RULE_METADATA_MAX, RULE_PATTERNS_MAX, RULE_TAGS_MAX,
};
use fdbroker_common::rule_table::{RuleEntries, RuleEntry, is_identifier, is_pattern_name};
use yara_x::{Rule, Rules};

/// The entries of all rules, in at most so many bytes. If there is no room for metadata it is left out, and
/// if there is none for the rest, so is that.
#[must_use]
pub fn describe(rules: &Rules, bytes_max: usize) -> Vec<u8> {
    let without_metadata = |rule: Rule<'_, '_>| {
        let mut entry = entry(&rule);
        entry.facts.cut |= !std::mem::take(&mut entry.facts.metadata).is_empty();
        entry
    };
    RuleEntries::encode(rules.iter().map(|rule| entry(&rule)), bytes_max)
        .or_else(|| RuleEntries::encode(rules.iter().map(without_metadata), bytes_max))
        .unwrap_or_default()
}

fn entry(rule: &Rule<'_, '_>) -> RuleEntry {
    let mut cut = false;
    let names = rule.tags().map(|tag| tag.identifier().to_owned());
    let mut tags: Vec<String> = names.collect();
    tags.retain(|tag| keep(is_identifier(tag.as_bytes()), &mut cut));
    let mut metadata = Vec::new();
    for (key, value) in rule.metadata() {
        if keep(is_identifier(key.as_bytes()), &mut cut) {
            metadata.push((key.to_owned(), value_of(&value, &mut cut)));
        }
    }
    cut |= tags.len() > RULE_TAGS_MAX || metadata.len() > RULE_METADATA_MAX;
    tags.truncate(RULE_TAGS_MAX);
    metadata.truncate(RULE_METADATA_MAX);
    let pattern = |name: &str| if is_pattern_name(name) { name.to_owned() } else { "$".to_owned() };
    let patterns = rule.patterns().take(RULE_PATTERNS_MAX);
    let patterns = patterns.map(|it| pattern(it.identifier())).collect();
    RuleEntry { facts: RuleFacts { tags, metadata, cut }, patterns }
}

/// What may stay; if not, something is cut.
fn keep(may: bool, cut: &mut bool) -> bool {
    *cut |= !may;
    may
}

fn value_of(value: &yara_x::MetaValue<'_>, cut: &mut bool) -> MetaValue {
    let bytes: &[u8] = match value {
        yara_x::MetaValue::Integer(number) => return MetaValue::Integer(*number),
        yara_x::MetaValue::Float(number) => return MetaValue::Float(number.to_bits()),
        yara_x::MetaValue::Bool(holds) => return MetaValue::Boolean(*holds),
        yara_x::MetaValue::String(text) => text.as_bytes(),
        yara_x::MetaValue::Bytes(bytes) => bytes,
    };
    *cut |= bytes.len() > META_TEXT_BYTES_MAX;
    // A character that is cut in the middle would make bytes of a text.
    let end = match std::str::from_utf8(bytes) {
        Ok(text) => text.floor_char_boundary(META_TEXT_BYTES_MAX),
        Err(_) => bytes.len().min(META_TEXT_BYTES_MAX),
    };
    MetaValue::Text(bytes.get(..end).unwrap_or_default().to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::compile::compile;
    use crate::sources::Source;

    const RULES: &str = "rule r : one two { meta: n = -3 f = 1.5 b = true s = \"a\\xff\" n = \"again\" \
        strings: $a = \"aa\" $p = \"pp\" private $ = \"cc\" condition: any of them }";

    fn rules(text: &str) -> Rules {
        let source = Source { name: b"test.yar".to_vec(), text: text.as_bytes().to_vec() };
        compile(&[source]).ok().unwrap().rules
    }

    fn described(text: &str, bytes_max: usize) -> Option<RuleEntry> {
        let bytes = describe(&rules(text), bytes_max);
        RuleEntries::decode(bytes, 2).ok()?.entry(1)
    }

    #[test]
    fn a_rule_says_its_tags_metadata_and_public_patterns() {
        let entry = described(RULES, 1 << 20).unwrap();
        let text = |text: &[u8]| MetaValue::Text(text.to_vec().into());
        let key = str::to_owned;
        assert_eq!(entry.facts.tags, ["one", "two"]);
        assert_eq!(
            entry.facts.metadata,
            [
                (key("n"), MetaValue::Integer(-3)),
                (key("f"), MetaValue::Float(1.5_f64.to_bits())),
                (key("b"), MetaValue::Boolean(true)),
                (key("s"), text(b"a\xff")),
                (key("n"), text(b"again")),
            ]
        );
        assert_eq!(entry.patterns, ["$a", "$"]);
        assert!(!entry.facts.cut);
    }

    #[test]
    fn what_has_no_room_is_left_out_and_that_is_said() {
        let all = describe(&rules(RULES), 1 << 20).len();
        let entry = described(RULES, all - 1).unwrap();
        assert!(entry.facts.metadata.is_empty() && entry.facts.cut);
        assert_eq!(entry.patterns, ["$a", "$"]);
        assert!(describe(&rules(RULES), 4).is_empty());
        let long = format!("rule r {{ meta: a = \"{}\" condition: true }}", "\u{e4}".repeat(513));
        let facts = described(&long, 1 << 20).unwrap().facts;
        assert!(facts.cut);
        let text = MetaValue::Text("\u{e4}".repeat(512).into_bytes().into());
        assert_eq!(facts.metadata, [("a".to_owned(), text)]);
    }
}
