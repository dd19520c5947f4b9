//! What a client may ask about a file besides its outcome: hash, places of matches, facts of rules.
//!
//! Plain values with bounds; they run nowhere. Numbers come from a worker, at most a few bytes of the
//! file with each; names, tags and metadata come from the table of the generation, never from a worker.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::limits::{
    MATCH_DATA_BYTES_MAX, MATCHES_PER_FILE_MAX, META_TEXT_BYTES_MAX, RULE_METADATA_MAX,
    RULE_TAGS_MAX, RULES_PER_FILE_MAX,
};
use crate::rule_table::{is_identifier, is_pattern_name};
use crate::wire::{WireError, bound};

/// What a client asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailOptions {
    /// SHA-256 of what was read.
    pub sha256: bool,
    /// Where patterns matched.
    pub matches: bool,
    /// Tags and metadata of the rules that matched.
    pub rules: bool,
}

impl DetailOptions {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.sha256 || self.matches || self.rules
    }
}

/// What is told of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// SHA-256, if it was asked for and the file was read whole.
    pub sha256: Option<[u8; 32]>,
    /// Of the rules that matched, in the order of their names; fewer if there is no room.
    pub rules: Vec<RuleFacts>,
    /// Where patterns matched, by rule, pattern and offset.
    pub matches: Vec<PatternMatch>,
    /// Whether there is more than is told.
    pub cut: bool,
}

/// What a rule says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFacts {
    /// Its tags.
    pub tags: Vec<String>,
    /// Its metadata, in its order; a key may stand there twice.
    pub metadata: Vec<(String, MetaValue)>,
    /// Whether there is more than is told.
    pub cut: bool,
}

/// A value of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaValue {
    /// A whole number.
    Integer(i64),
    /// The bits of an IEEE 754 double.
    Float(u64),
    /// True or false.
    Boolean(bool),
    /// Text as its author wrote it, perhaps no UTF-8, at most [`META_TEXT_BYTES_MAX`].
    Text(ByteBuf),
}

/// A place where a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatternMatch {
    /// Which of the rules that matched, in the order of their names.
    pub rule: u32,
    /// Name of the pattern, with its `$`.
    pub pattern: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// How it begins, at most [`MATCH_DATA_BYTES_MAX`]; none if the caller could not read the file.
    pub data: Option<ByteBuf>,
}

impl Details {
    /// Bounds for [`crate::wire::Message::check`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        bound(self.rules.len() <= RULES_PER_FILE_MAX, "rules of a match")?;
        self.rules.iter().try_for_each(RuleFacts::check)?;
        bound(self.matches.len() <= MATCHES_PER_FILE_MAX, "matches of a file")?;
        self.matches.iter().try_for_each(|found| {
            bound(is_pattern_name(&found.pattern), "name of a pattern")?;
            let data = found.data.as_ref().map_or(0, |data| data.len());
            bound(data <= MATCH_DATA_BYTES_MAX, "data of a match")
        })
    }
}

impl RuleFacts {
    /// As [`Details::check`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        let tags = self.tags.iter().all(|tag| is_identifier(tag.as_bytes()));
        bound(tags && self.tags.len() <= RULE_TAGS_MAX, "tags of a rule")?;
        let fits = |value: &MetaValue| match value {
            MetaValue::Text(text) => text.len() <= META_TEXT_BYTES_MAX,
            MetaValue::Integer(_) | MetaValue::Float(_) | MetaValue::Boolean(_) => true,
        };
        let metadata =
            self.metadata.iter().all(|(key, value)| is_identifier(key.as_bytes()) && fits(value));
        bound(metadata && self.metadata.len() <= RULE_METADATA_MAX, "metadata of a rule")
    }

    /// Room that they take in a message, generously.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        let tags = self.tags.iter().map(|tag| tag.len().saturating_add(2));
        let metadata = self.metadata.iter().map(|(key, value)| {
            let value = match value {
                MetaValue::Text(text) => text.len(),
                MetaValue::Integer(_) | MetaValue::Float(_) | MetaValue::Boolean(_) => 10,
            };
            key.len().saturating_add(value).saturating_add(8)
        });
        tags.chain(metadata).fold(8, usize::saturating_add)
    }
}

impl PatternMatch {
    /// Room that it takes in a message, generously.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        let data = self.data.as_ref().map_or(0, |data| data.len());
        self.pattern.len().saturating_add(data).saturating_add(32)
    }
}
