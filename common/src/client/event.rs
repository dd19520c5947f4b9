//! What a scan tells its caller.
//!
//! Plain values; they run nowhere and hold no descriptor.

use std::path::PathBuf;

use crate::client_link::Refusal;
use crate::details::Details;
use crate::generation::GenerationId;
use crate::outcome::Outcome;
use crate::totals::Totals;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The scan begins. A very long list of targets is scanned in several parts, each of which
    /// begins anew, perhaps with newer rules.
    Accepted(Rules),
    /// What became of one file.
    Report(Report),
    /// Sign of life: the counts so far.
    Progress(Totals),
    /// Nobody serves the scan any more: it was refused, or the connection was lost. It goes on by itself
    /// if somebody does in time; see [`Scan::resuming`].
    ///
    /// [`Scan::resuming`]: super::Scan::resuming
    Interrupted(Option<Refusal>),
    /// It is served again.
    Resumed,
}

/// The rules with which verdicts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Names them.
    pub generation: GenerationId,
    /// How many there are.
    pub count: u32,
}

/// What became of one file.
#[derive(Debug)]
pub struct Report {
    /// Which target it is or lies beneath: its position in the source, from 0.
    pub target: u64,
    /// The target's name, joined with what lies beneath it.
    pub path: PathBuf,
    /// Size when it was opened; 0 if it was not.
    pub size: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// More about it, if that was asked for and a worker has judged it.
    pub details: Option<Box<Details>>,
}
