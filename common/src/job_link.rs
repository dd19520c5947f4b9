//! Job link: an opener (tag 0x21) and a worker that is lent to it (tag 0x22).
//!
//! A worker answers in numbers only: which rules, how many bytes. The opener turns rule numbers into
//! names by the table of the generation, so that a captured worker cannot write text anywhere.

use serde::{Deserialize, Serialize};

use crate::generation::GenerationId;
use crate::limits::{ANSWERS_PER_MESSAGE_MAX, BATCH_FILES_MAX, PATH_BYTES_MAX, RULES_PER_FILE_MAX};
use crate::outcome::{Change, Limit};
use crate::stamp::Stamp;
use crate::wire::{Message, WireError, bound};

/// Exit status of a worker that had no room for the descriptors of its jobs: no fault of a file.
pub const EXIT_WITHOUT_ROOM: u8 = 75;

/// What an opener says to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenerToWorker {
    /// Files to be judged, each with one descriptor in the same order.
    Scan(Vec<Job>),
}

/// One file to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Chosen by the opener, unique among the jobs of this worker.
    pub id: u32,
    /// The file when the opener opened it.
    pub stamp: Stamp,
    /// Largest size that is read.
    pub bytes_max: u64,
    /// Only when the rules of the generation use names.
    pub name: Option<serde_bytes::ByteBuf>,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToOpener {
    /// First message of a worker's life: sealed, tested, rules loaded.
    Ready(GenerationId),
    /// Findings, each for one outstanding job.
    Answers(Vec<Answer>),
}

/// What a worker found out about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The job.
    pub id: u32,
    /// Bytes read.
    pub read: u64,
    /// What it found.
    pub finding: Finding,
}

/// The part of an outcome that a worker can know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Read to the end, nothing matched, unchanged.
    Clean,
    /// Rules that matched, by number, ascending.
    Match(Vec<u32>),
    /// A limit was met.
    Incomplete(Limit),
    /// The file changed.
    Unstable(Change),
    /// read(2) failed with this errno.
    ReadError(i32),
    /// Not a regular file opened read-only.
    Refused,
    /// The engine reported an error.
    EngineError,
}

impl Message for OpenerToWorker {
    const TAG: u8 = 0x21;
    const DESCRIPTORS_MAX: usize = BATCH_FILES_MAX;

    fn descriptors(&self) -> usize {
        let Self::Scan(jobs) = self;
        jobs.len()
    }

    fn check(&self) -> Result<(), WireError> {
        let Self::Scan(jobs) = self;
        bound((1..=BATCH_FILES_MAX).contains(&jobs.len()), "number of jobs")?;
        bound(
            jobs.iter()
                .filter_map(|job| job.name.as_ref())
                .all(|name| name.len() <= PATH_BYTES_MAX),
            "length of a name",
        )
    }
}

impl Message for WorkerToOpener {
    const TAG: u8 = 0x22;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        let Self::Answers(answers) = self else {
            return Ok(());
        };
        bound((1..=ANSWERS_PER_MESSAGE_MAX).contains(&answers.len()), "number of answers")?;
        for answer in answers {
            if let Finding::Match(rules) = &answer.finding {
                bound((1..=RULES_PER_FILE_MAX).contains(&rules.len()), "rules of a match")?;
                bound(rules.is_sorted_by(|a, b| a < b), "order of rules")?;
            }
        }
        Ok(())
    }
}
