//! Record link: an opener (tag 0x69) tells the auditor (tag 0x6a) what it was asked for and what came of it.
//!
//! The opener works for a stranger, so everything here may be a lie, but bounded. It names neither a
//! user nor a process: those the auditor knows from the broker.

use fdbroker_common::generation::GenerationId;
use fdbroker_common::limits::{RULES_PER_FILE_MAX, TARGETS_PER_MESSAGE_MAX};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::totals::Totals;
use fdbroker_common::wire::{Message, WireError, bound};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::auditor::plan::AuditFiles;

/// Most notes in one message.
pub const NOTES_PER_MESSAGE_MAX: usize = TARGETS_PER_MESSAGE_MAX;

/// Longest name in a record: `PATH_MAX`. Of longer ones the end is kept.
pub const NAME_BYTES_MAX: usize = 4096;

/// Most rules that a record names.
pub const RULES_MAX: usize = 32;

/// Longest name of a rule in a record.
pub const RULE_NAME_BYTES_MAX: usize = 128;

/// What an opener says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenerToAuditor {
    /// What happened, in this order.
    Notes(Vec<Note>),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A scan begins.
    Begin {
        /// The how manieth connection that this opener serves, from 1.
        connection: u32,
    },
    /// The scan comes to a target.
    Target(Object, Kind),
    /// What became of a file.
    File {
        /// The file.
        object: Object,
        /// Outcome; at most [`RULES_MAX`] rules are named.
        outcome: Outcome,
        /// How many rules are not named.
        unnamed: u32,
    },
    /// The scan has ended.
    End {
        /// How.
        ending: Ending,
        /// Targets that it came to.
        targets: u64,
        /// Rules of the verdicts, if any was told.
        generation: Option<GenerationId>,
        /// What became of files.
        totals: Totals,
    },
}

/// A file or directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// As the client calls it, or its end if it is long.
    pub name: ByteBuf,
    /// Whether it is the end only.
    pub cut: bool,
    /// Device and inode, if it was looked at.
    pub id: Option<(u64, u64)>,
    /// Size, as far as known.
    pub size: u64,
}

/// What kind of thing a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else that is known.
    Other,
    /// It could not be looked at.
    Unknown,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Every target was dealt with.
    Done,
    /// The client went.
    Aborted,
    /// The client was told that it is refused.
    Refused(Refusal),
}

/// What the auditor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditorToOpener {
    /// First and only message: which files to tell of.
    Tell(AuditFiles),
}

impl Object {
    /// Something by its name.
    #[must_use]
    pub fn named(mut name: Vec<u8>, id: Option<(u64, u64)>, size: u64) -> Self {
        let cut = name.len() > NAME_BYTES_MAX;
        let name = name.split_off(name.len().saturating_sub(NAME_BYTES_MAX)).into();
        Self { name, cut, id, size }
    }
}

impl Kind {
    /// The word for it in records.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::File => Some("file"),
            Self::Directory => Some("directory"),
            Self::Other => Some("other"),
            Self::Unknown => None,
        }
    }
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            _ => Self::Other,
        }
    }
}

impl Note {
    /// Room that it takes in a message, at most.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        const OTHER: usize = 128;
        let names = match self {
            Self::Target(object, _) => object.name.len(),
            Self::File { object, outcome: Outcome::Match { rules }, .. } => {
                let rules = rules.iter().map(|rule| rule.len().saturating_add(2));
                object.name.len().saturating_add(rules.sum())
            }
            Self::File { object, .. } => object.name.len(),
            Self::Begin { .. } | Self::End { .. } => 0,
        };
        names.saturating_add(OTHER)
    }

    fn check(&self) -> Result<(), WireError> {
        let (Self::Target(object, _) | Self::File { object, .. }) = self else {
            return Ok(());
        };
        bound(object.name.len() <= NAME_BYTES_MAX, "length of a name")?;
        if let Self::File { outcome: Outcome::Match { rules }, unnamed, .. } = self {
            bound((1..=RULES_MAX).contains(&rules.len()), "rules of a record")?;
            let unnamed = usize::try_from(*unnamed).unwrap_or(usize::MAX);
            bound(unnamed <= RULES_PER_FILE_MAX, "rules that are not named")?;
            let names = rules.iter().all(|rule| rule.len() <= RULE_NAME_BYTES_MAX);
            bound(names, "length of a rule's name")?;
        }
        Ok(())
    }
}

impl Message for OpenerToAuditor {
    const TAG: u8 = 0x69;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        let Self::Notes(notes) = self;
        bound((1..=NOTES_PER_MESSAGE_MAX).contains(&notes.len()), "number of notes")?;
        notes.iter().try_for_each(Note::check)
    }
}

impl Message for AuditorToOpener {
    const TAG: u8 = 0x6a;
    const DESCRIPTORS_MAX: usize = 0;
}
