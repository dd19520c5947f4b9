//! Client link: who asks for scans (tag 0x11) and the opener that serves it (tag 0x12).
//!
//! One connection carries any number of scans, one after the other: `Start`, `Targets`…, `End`
//! from the client; `Accepted`, `Reports`/`Progress`…, `Done` from the opener. A client cancels by
//! closing. The broker itself says nothing here but `Refused`, and reads nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::details::{DetailOptions, Details};
use crate::generation::GenerationId;
use crate::limits::{
    EXCLUDE_BYTES_MAX, EXCLUDES_MAX, PATH_BYTES_MAX, REPORTS_PER_MESSAGE_MAX,
    TARGETS_PER_MESSAGE_MAX,
};
use crate::outcome::Outcome;
use crate::refusal::OPENER_TO_CLIENT_TAG;
pub use crate::refusal::Refusal;
use crate::totals::Totals;
use crate::wire::{Message, WireError, bound};

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientToOpener {
    /// Begins a scan. With one descriptor, of the client's root directory, if links are to be followed.
    Start(ScanOptions),
    /// Files and directories, each with one descriptor in the same order.
    Targets(Vec<Target>),
    /// No more targets; `Done` follows once all are scanned.
    End,
    /// Within a scan: the next targets, or the end, are not known yet.
    Waiting,
    /// Files and directories beneath granted trees. Their names are absolute paths, without `.`, `..` and
    /// empty components; the opener looks them up. On a granted connection, in the place of `Targets`.
    PathTargets(Vec<Target>),
}

/// Choices for one scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanOptions {
    /// Report only what is not clean; clean files are counted.
    pub omit_clean: bool,
    /// Stay on the file system of each target.
    pub one_filesystem: bool,
    /// Follow symbolic links inside directories. They are followed by the opener, which refuses unless
    /// the client's root directory is its own.
    pub follow_links: bool,
    /// Larger files are `incomplete`; 0 stands for the broker's own limit, which is also the most.
    pub file_bytes_max: u64,
    /// Deadline for one file in seconds; 0 stands for the default.
    pub file_deadline_s: u32,
    /// Patterns of names (without `/`) or of whole paths that are not scanned.
    pub excludes: Vec<ByteString>,
    /// What is told of files besides their outcome.
    pub details: DetailOptions,
}

/// Bytes that are not necessarily UTF-8.
pub type ByteString = serde_bytes::ByteBuf;

/// One file or directory that a client designates by a descriptor, or beneath a granted tree by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Chosen by the client, repeated in each report.
    pub id: u32,
    /// How the client calls it; decides nothing about access, but `filename` rules and path
    /// patterns see it.
    pub name: ByteString,
}

/// What an opener says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenerToClient {
    /// No scan is possible; the connection ends.
    Refused(Refusal),
    /// The scan begins; or goes on with other rules, which were loaded meanwhile.
    Accepted {
        /// Rules with which the verdicts are made.
        generation: GenerationId,
        /// How many rules that are.
        rules: u32,
    },
    /// What became of files, in no particular order.
    Reports(Vec<Report>),
    /// Sign of life, at least each second while the scan goes on.
    Progress(Totals),
    /// Every target has been dealt with.
    Done(Totals),
    /// As `Reports`, of files that a worker has judged, if the client asked for details.
    Detailed(Vec<(Report, Details)>),
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The target that it is or lies beneath.
    pub target: u32,
    /// Path beneath the target; empty for the target itself.
    pub path: ByteString,
    /// Size when it was opened; 0 if it was not.
    pub size: u64,
    /// What became of it.
    pub outcome: Outcome,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoScanner => {
                "the broker has no scanner; start fdscand (as its own user), or fdbroker with --spawn-scanner; if one runs, its log says what is wrong"
            }
            Self::TooManyConnections => "too many connections of this user; try again later",
            Self::NotAllowed => "this broker does not serve this user",
            Self::Overloaded => "the broker could not serve the connection: out of processes, memory or descriptors; try again later, and see its log",
            Self::BadPattern => "malformed exclude pattern",
            Self::ForeignRoot => {
                "links cannot be followed beneath granted trees, nor for a caller with another root directory or mount namespace; scan without -L"
            }
            Self::Silent => {
                "the broker has closed the connection, because nothing was asked for or read for too long; connect again"
            }
            Self::WorkersHang => {
                "too many scanner processes hang on files of this user; end the file system that does not answer (see fusermount -u, umount -f), or leave it out with --exclude or --one-file-system"
            }
        })
    }
}

impl Message for ClientToOpener {
    const TAG: u8 = 0x11;
    const DESCRIPTORS_MAX: usize = TARGETS_PER_MESSAGE_MAX;

    fn descriptors(&self) -> usize {
        match self {
            Self::Targets(targets) => targets.len(),
            Self::Start(options) => usize::from(options.follow_links),
            Self::End | Self::Waiting | Self::PathTargets(_) => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Start(options) => {
                bound(options.excludes.len() <= EXCLUDES_MAX, "exclude patterns")?;
                bound(
                    options.excludes.iter().all(|pattern| pattern.len() <= EXCLUDE_BYTES_MAX),
                    "length of an exclude pattern",
                )
            }
            Self::Targets(targets) | Self::PathTargets(targets) => {
                bound((1..=TARGETS_PER_MESSAGE_MAX).contains(&targets.len()), "number of targets")?;
                bound(
                    targets.iter().all(|target| target.name.len() <= PATH_BYTES_MAX),
                    "length of a target's name",
                )
            }
            Self::End | Self::Waiting => Ok(()),
        }
    }
}

impl Message for OpenerToClient {
    const TAG: u8 = OPENER_TO_CLIENT_TAG;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        let fits =
            |count| bound((1..=REPORTS_PER_MESSAGE_MAX).contains(&count), "number of reports");
        match self {
            Self::Reports(reports) => {
                fits(reports.len())?;
                reports.iter().try_for_each(Report::check)
            }
            Self::Detailed(reports) => {
                fits(reports.len())?;
                reports.iter().try_for_each(|(report, details)| {
                    report.check()?;
                    details.check()
                })
            }
            _ => Ok(()),
        }
    }
}

impl Report {
    fn check(&self) -> Result<(), WireError> {
        bound(self.path.len() <= PATH_BYTES_MAX, "length of a path")?;
        self.outcome.check()
    }
}
