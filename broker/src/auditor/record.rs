//! Records: what is said, in which order. Pure; how it looks is `format`'s business.

use std::path::Path;

use fdbroker_common::generation::GenerationId;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use rustix::fs::{major, minor};
use std::os::unix::ffi::OsStrExt;

use crate::record_link::Object;

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not known, or there is none.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// Bytes that a stranger may have chosen.
    Name(Vec<u8>),
    /// Several of them.
    Names(Vec<Vec<u8>>),
}

/// One record: names of fields are ours, values are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    fields: Vec<(&'static str, Value)>,
    /// Whether somebody should look at it.
    pub warns: bool,
}

impl Record {
    /// A record of this event.
    #[must_use]
    pub fn of(event: &'static str) -> Self {
        Self::default().with("event", event)
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.warns = true;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds all fields of another.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.fields.extend(other.fields.iter().cloned());
        self
    }

    /// Adds what is known of a file or directory.
    #[must_use]
    pub fn object(self, object: &Object) -> Self {
        let device = object.id.map(|(device, _)| format!("{}:{}", major(device), minor(device)));
        self.with("path", Value::Name(object.name.to_vec()))
            .with("path_cut", Value::Flag(object.cut))
            .with("dev", device)
            .with("ino", object.id.map(|(_, inode)| inode))
            .with("size", object.size)
    }

    /// Adds an outcome, and why.
    #[must_use]
    pub fn outcome(self, outcome: &Outcome, unnamed: u32) -> Self {
        let detail = match outcome {
            Outcome::Incomplete { limit, .. } => Some(limit.to_string()),
            Outcome::Unstable(change) => Some(change.to_string()),
            Outcome::Skipped(reason) => Some(reason.to_string()),
            Outcome::Error(failure) => Some(failure.to_string()),
            Outcome::Clean | Outcome::Match { .. } | Outcome::Denied => None,
        };
        let rules = match outcome {
            Outcome::Match { rules } => rules.iter().map(|rule| rule.clone().into()).collect(),
            _ => Vec::new(),
        };
        self.with("outcome", outcome.word())
            .with("detail", detail)
            .with("rules", Value::Names(rules))
            .with("rules_unnamed", u64::from(unnamed))
    }

    /// Adds counts.
    #[must_use]
    pub fn totals(self, totals: &Totals) -> Self {
        self.with("clean", totals.clean)
            .with("matched", totals.matched)
            .with("incomplete", totals.incomplete)
            .with("unstable", totals.unstable)
            .with("denied", totals.denied)
            .with("skipped", totals.skipped)
            .with("errors", totals.errors)
            .with("bytes", totals.bytes)
    }

    /// All fields, in order.
    #[must_use]
    pub fn fields(&self) -> &[(&'static str, Value)] {
        &self.fields
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Name(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Name(text.into_bytes())
    }
}

impl From<&Path> for Value {
    fn from(path: &Path) -> Self {
        Self::Name(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<GenerationId> for Value {
    fn from(generation: GenerationId) -> Self {
        generation.to_string().into()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
