//! What was told of one round, so that a scan that begins again tells no file twice.
//!
//! Runs in the user's process; pure arithmetic. A file is remembered by a keyed 128-bit hash of its
//! target and path: whoever chooses names cannot choose two that look the same here, and so have one
//! of them pass as told. Counts are of files, each once, however often they were looked at.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::outcome::Outcome;
use crate::totals::Totals;

/// Most files that are remembered, at about 20 bytes each. With more the scan is not resumed.
const TOLD_MAX: usize = 3_500_000;

/// The low bits of a [`Mark`], which are not part of the hash.
const KIND_BITS: u32 = 3;

/// A file that was told: hash, and the kind of outcome in the lowest bits.
#[derive(Clone, Copy)]
struct Mark(u128);

impl Mark {
    fn kind(self) -> Kind {
        Kind((self.0 & ((1 << KIND_BITS) - 1)) as u8)
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.0 >> KIND_BITS == other.0 >> KIND_BITS
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 >> KIND_BITS).hash(state);
    }
}

/// An outcome without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const MATCH: Self = Self(1);

    fn of(outcome: &Outcome) -> Self {
        Self(match outcome {
            Outcome::Clean => 0,
            Outcome::Match { .. } => 1,
            Outcome::Incomplete { .. } => 2,
            Outcome::Unstable(_) => 3,
            Outcome::Denied => 4,
            Outcome::Skipped(_) => 5,
            Outcome::Error(_) => 6,
        })
    }

    fn counter(self, totals: &mut Totals) -> &mut u64 {
        match self.0 {
            0 => &mut totals.clean,
            1 => &mut totals.matched,
            2 => &mut totals.incomplete,
            3 => &mut totals.unstable,
            4 => &mut totals.denied,
            5 => &mut totals.skipped,
            _ => &mut totals.errors,
        }
    }
}

/// What a report is beside those that were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Entry {
    /// The first of its file.
    New,
    /// The file was told as something else, and matches: that is told too.
    Match,
    /// The file was told.
    Old,
}

/// What was told of one round, in however many passes.
#[derive(Default)]
pub(super) struct Ledger {
    omit_clean: bool,
    /// `None` for a scan that is not resumed, or that has told more than is remembered.
    marks: Option<HashSet<Mark>>,
    keys: [RandomState; 2],
    /// Whether this is not the first pass.
    again: bool,
    /// What the opener of this pass should have counted.
    pass: Totals,
    /// Each file once, as it was told.
    told: Totals,
    /// Bytes of the targets that were finished in earlier passes.
    carried: u64,
    /// Files told in earlier passes that this one has yet to meet.
    unmet: u64,
    /// The most that any pass has counted.
    furthest: Totals,
}

impl Ledger {
    pub(super) fn new(omit_clean: bool, remembers: bool) -> Self {
        Self { omit_clean, marks: remembers.then(HashSet::new), ..Self::default() }
    }

    /// What was told so far, each file once.
    pub(super) fn told(&self) -> Totals {
        self.told
    }

    /// Whether everything that was told is remembered.
    pub(super) fn remembers(&self) -> bool {
        self.marks.is_some()
    }

    /// Notes what the opener says of a file.
    pub(super) fn reported(&mut self, target: u32, path: &[u8], outcome: &Outcome) -> Entry {
        self.pass.add(outcome, 0);
        self.note(target, path, outcome)
    }

    /// Notes the outcome of a file: the first one counts, unless a later one is a match.
    pub(super) fn note(&mut self, target: u32, path: &[u8], outcome: &Outcome) -> Entry {
        let kind = Kind::of(outcome);
        let mark = self.mark(target, path, kind);
        let again = self.again;
        let before = self.marks.as_mut().and_then(|marks| match again {
            true => marks.get(&mark).copied(),
            false => None,
        });
        if let Some(before) = before {
            self.unmet = self.unmet.saturating_sub(1);
            if kind != Kind::MATCH || before.kind() == Kind::MATCH {
                return Entry::Old;
            }
            let counter = before.kind().counter(&mut self.told);
            *counter = counter.saturating_sub(1);
        }
        self.told.add(outcome, 0);
        if let Some(marks) = &mut self.marks {
            marks.replace(mark);
            if marks.len() > TOLD_MAX {
                self.marks = None;
            }
        }
        if before.is_some() { Entry::Match } else { Entry::New }
    }

    fn mark(&self, target: u32, path: &[u8], kind: Kind) -> Mark {
        if self.marks.is_none() {
            return Mark(0);
        }
        let [high, low] = self.keys.each_ref().map(|key| key.hash_one((target, path)));
        let hash = u128::from(high) << 64 | u128::from(low);
        Mark(hash >> KIND_BITS << KIND_BITS | u128::from(kind.0))
    }

    /// Begins another pass, which is to meet so many files that were told, and leaves out finished
    /// targets of so many bytes.
    pub(super) fn begin_again(&mut self, unmet: u64, carried: u64) {
        self.again = true;
        self.pass = Totals::default();
        (self.unmet, self.carried) = (unmet, carried);
    }

    /// This pass will not meet so many files that were told: their target is gone.
    pub(super) fn forgo(&mut self, files: u64) {
        self.unmet = self.unmet.saturating_sub(files);
    }

    /// The most that was counted so far, and whether that is more than before.
    pub(super) fn progress(&mut self, pass: &Totals) -> (Totals, bool) {
        let before = self.furthest;
        for kind in (0..=6).map(Kind) {
            let counted = *kind.counter(&mut pass.clone());
            let most = kind.counter(&mut self.furthest);
            *most = (*most).max(counted);
        }
        self.furthest.bytes = before.bytes.max(pass.bytes);
        (self.furthest, self.furthest != before)
    }

    /// The counts of the round, if the end of its last pass agrees with what was reported.
    pub(super) fn finish(&self, done: &Totals) -> Option<Totals> {
        let mut expected = self.pass;
        expected.bytes = done.bytes;
        if self.omit_clean {
            expected.clean = done.clean;
        }
        if expected != *done {
            return None;
        }
        let mut totals = self.told;
        totals.bytes = done.bytes.saturating_add(self.carried);
        if self.omit_clean {
            // What was told as something else and not met again may be among the clean ones.
            totals.clean = done.clean.saturating_sub(self.unmet);
        }
        Some(totals)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ledger").field("told", &self.told).finish_non_exhaustive()
    }
}
