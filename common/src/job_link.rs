//! Job link: an opener (tag 0x21) and a worker that is lent to it (tag 0x22).
//!
//! A worker answers in numbers: which rules, how many bytes, and where, if somebody asks; with that, a few
//! bytes of the file itself, for who may read it. The opener turns rule numbers into names by the table
//! of the generation, so that a captured worker cannot write text anywhere.

use serde::{Deserialize, Serialize};

use crate::generation::GenerationId;
use crate::limits::{
    ANSWERS_PER_MESSAGE_MAX, BATCH_FILES_MAX, MATCH_DATA_BYTES_MAX, MATCHES_PER_FILE_MAX,
    PATH_BYTES_MAX, RULE_PATTERNS_MAX, RULES_PER_FILE_MAX,
};
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
    /// The same, of which more than a verdict is wanted; `Examined` answers.
    Examine(Wanted, Vec<Job>),
}

/// What is wanted of each file besides the verdict; not nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// SHA-256 of what is read.
    pub sha256: bool,
    /// Where patterns match.
    pub matches: bool,
    /// With each match, how it begins. Never of a file that the caller could not read itself.
    pub data: bool,
}

impl Wanted {
    /// Whether anything is wanted.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.sha256 || self.matches || self.data
    }
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
    /// The same for jobs that were to be examined.
    Examined(Vec<Examined>),
}

/// An answer, and what else was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// As without it.
    pub answer: Answer,
    /// What else was wanted.
    pub evidence: Evidence,
}

/// What a worker tells of a file besides its finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// If it was wanted, and all was read.
    pub sha256: Option<[u8; 32]>,
    /// If they were wanted, by rule, pattern and offset.
    pub places: Vec<Place>,
    /// Whether there are more.
    pub cut: bool,
}

/// Where a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// One of the rules that matched.
    pub rule: u32,
    /// Number of the pattern among those of the rule that are not private.
    pub pattern: u32,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// How it begins, if that was wanted.
    pub data: serde_bytes::ByteBuf,
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
        self.jobs().len()
    }

    fn check(&self) -> Result<(), WireError> {
        if let Self::Examine(wanted, _) = self {
            bound(wanted.is_any(), "nothing that is wanted")?;
        }
        let jobs = self.jobs();
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
        let fits =
            |count| bound((1..=ANSWERS_PER_MESSAGE_MAX).contains(&count), "number of answers");
        match self {
            Self::Ready(_) => Ok(()),
            Self::Answers(answers) => {
                fits(answers.len())?;
                answers.iter().try_for_each(Answer::check)
            }
            Self::Examined(answers) => {
                fits(answers.len())?;
                answers.iter().try_for_each(|examined| {
                    examined.answer.check()?;
                    examined.evidence.check()
                })
            }
        }
    }
}

impl OpenerToWorker {
    /// The files to be judged.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        let (Self::Scan(jobs) | Self::Examine(_, jobs)) = self;
        jobs
    }

    /// What is wanted besides the verdicts.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        match self {
            Self::Scan(_) => Wanted::default(),
            Self::Examine(wanted, _) => *wanted,
        }
    }
}

impl Answer {
    fn check(&self) -> Result<(), WireError> {
        if let Finding::Match(rules) = &self.finding {
            bound((1..=RULES_PER_FILE_MAX).contains(&rules.len()), "rules of a match")?;
            bound(rules.is_sorted_by(|a, b| a < b), "order of rules")?;
        }
        Ok(())
    }
}

impl Evidence {
    fn check(&self) -> Result<(), WireError> {
        bound(self.places.len() <= MATCHES_PER_FILE_MAX, "matches of a file")?;
        let key = |place: &Place| (place.rule, place.pattern, place.offset);
        bound(self.places.is_sorted_by(|a, b| key(a) < key(b)), "order of matches")?;
        self.places.iter().try_for_each(|place| {
            let pattern = usize::try_from(place.pattern).is_ok_and(|it| it < RULE_PATTERNS_MAX);
            bound(pattern, "number of a pattern")?;
            let data = place.data.len();
            let within = u64::try_from(data).is_ok_and(|data| data <= place.length);
            bound(data <= MATCH_DATA_BYTES_MAX && within, "data of a match")
        })
    }
}
