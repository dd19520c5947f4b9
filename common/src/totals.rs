//! Outcomes counted, for summaries, progress and status.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// Outcomes counted, for summaries, progress and status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files found clean.
    pub clean: u64,
    /// Files that matched.
    pub matched: u64,
    /// Files read in part.
    pub incomplete: u64,
    /// Files that changed.
    pub unstable: u64,
    /// Files and directories that the caller may not read.
    pub denied: u64,
    /// Entries that are not scanned.
    pub skipped: u64,
    /// Files that could not be scanned.
    pub errors: u64,
    /// Bytes read by the scanner.
    pub bytes: u64,
}

impl Totals {
    /// Counts one outcome and the bytes that were read for it.
    pub fn add(&mut self, outcome: &Outcome, bytes: u64) {
        let counter = match outcome {
            Outcome::Clean => &mut self.clean,
            Outcome::Match { .. } => &mut self.matched,
            Outcome::Incomplete { .. } => &mut self.incomplete,
            Outcome::Unstable(_) => &mut self.unstable,
            Outcome::Denied => &mut self.denied,
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Error(_) => &mut self.errors,
        };
        *counter = counter.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds another count, of other files.
    pub fn merge(&mut self, other: &Self) {
        self.clean = self.clean.saturating_add(other.clean);
        self.matched = self.matched.saturating_add(other.matched);
        self.incomplete = self.incomplete.saturating_add(other.incomplete);
        self.unstable = self.unstable.saturating_add(other.unstable);
        self.denied = self.denied.saturating_add(other.denied);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.errors = self.errors.saturating_add(other.errors);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// Files of any outcome but `skipped`.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.clean.saturating_add(self.matched).saturating_add(self.not_scanned())
    }

    /// Files that are neither clean, matched nor skipped.
    #[must_use]
    pub fn not_scanned(&self) -> u64 {
        self.incomplete
            .saturating_add(self.unstable)
            .saturating_add(self.denied)
            .saturating_add(self.errors)
    }

    /// 1 if anything matched, else 2 if anything could not be scanned whole, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.matched > 0 {
            1
        } else if self.not_scanned() > 0 {
            2
        } else {
            0
        }
    }
}
