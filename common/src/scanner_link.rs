//! Scanner links: the broker and the supervisor (tags 0x41, 0x42), the broker and a template
//! (tags 0x43, 0x44).
//!
//! The supervisor starts a template when told to and passes the broker a connection to it; all else
//! (rules, workers) goes over that connection. Neither ever sees a caller's file.

use serde::{Deserialize, Serialize};

use crate::generation::GenerationId;
use crate::lease_link::LossCause;
use crate::limits::{
    RULE_ERROR_BYTES_MAX, RULE_FILE_NAME_BYTES_MAX, RULE_FILES_MAX, RULE_FILES_PER_MESSAGE_MAX,
    RULES_MAX,
};
use crate::probe::Act;
use crate::wire::{Message, WireError, bound};

/// What the broker says to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToSupervisor {
    /// Start a template; `Template` with the same number follows.
    StartTemplate {
        /// Numbers the templates of a connection, ascending.
        template: u32,
    },
}

/// What the supervisor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToBroker {
    /// First message: how many workers its administrator wants; 0 leaves it to the broker.
    Hello {
        /// `--workers` of fdscand.
        workers: u32,
    },
    /// A template has been started (one descriptor: the template link).
    Template {
        /// Its number.
        template: u32,
    },
    /// It could not be started.
    Failed {
        /// Its number.
        template: u32,
        /// Why, as errno.
        errno: i32,
    },
}

/// What the broker says to a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToTemplate {
    /// Rule files by name, each with one descriptor in the same order. Only before `Compile`.
    Rules(Vec<serde_bytes::ByteBuf>),
    /// All rules are told: compile, seal, test. `Ready` or `Rejected` follows.
    Compile,
    /// Fork a worker; `Worker` with the same number follows. Only after `Ready`.
    Fork {
        /// Numbers the workers of a template, ascending.
        worker: u32,
    },
    /// End a worker at once; `Exited` follows.
    Kill {
        /// The worker.
        worker: u32,
    },
    /// Fork a worker that tries an act and ends (one descriptor: a file to try it on); `Exited` follows,
    /// no `Worker`. Only after `Ready`.
    Probe {
        /// Its number, as of any other worker.
        worker: u32,
        /// What it tries once it is sealed.
        act: Act,
    },
}

/// What a template says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateToBroker {
    /// Rules compiled, sealed, EICAR found (one descriptor: the sealed table of rule names).
    Ready {
        /// Names the rules.
        generation: GenerationId,
        /// How many rules there are, the built-in one included.
        rules: u32,
        /// Whether a rule uses names, so that they must travel with jobs.
        wants_names: bool,
    },
    /// The rules are not usable, and why, one line for people. The template ends.
    Rejected {
        /// File, line, reason.
        reason: serde_bytes::ByteBuf,
    },
    /// A worker has been forked (one descriptor: its job link).
    Worker {
        /// Its number.
        worker: u32,
    },
    /// A worker has ended.
    Exited {
        /// Its number.
        worker: u32,
        /// What ended it.
        cause: LossCause,
    },
}

impl Message for BrokerToSupervisor {
    const TAG: u8 = 0x41;
    const DESCRIPTORS_MAX: usize = 0;
}

impl Message for SupervisorToBroker {
    const TAG: u8 = 0x42;
    const DESCRIPTORS_MAX: usize = 1;

    fn descriptors(&self) -> usize {
        usize::from(matches!(self, Self::Template { .. }))
    }
}

impl Message for BrokerToTemplate {
    const TAG: u8 = 0x43;
    const DESCRIPTORS_MAX: usize = RULE_FILES_PER_MESSAGE_MAX;

    fn descriptors(&self) -> usize {
        match self {
            Self::Rules(names) => names.len(),
            Self::Probe { .. } => 1,
            Self::Compile | Self::Fork { .. } | Self::Kill { .. } => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        let Self::Rules(names) = self else {
            return Ok(());
        };
        bound(
            (1..=RULE_FILES_PER_MESSAGE_MAX.min(RULE_FILES_MAX)).contains(&names.len()),
            "number of rule files",
        )?;
        bound(
            names.iter().all(|name| (1..=RULE_FILE_NAME_BYTES_MAX).contains(&name.len())),
            "length of a rule file's name",
        )
    }
}

impl Message for TemplateToBroker {
    const TAG: u8 = 0x44;
    const DESCRIPTORS_MAX: usize = 1;

    fn descriptors(&self) -> usize {
        usize::from(matches!(self, Self::Ready { .. } | Self::Worker { .. }))
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Ready { rules, .. } => bound(
                usize::try_from(*rules).is_ok_and(|rules| (1..=RULES_MAX).contains(&rules)),
                "number of rules",
            ),
            Self::Rejected { reason } => {
                bound(reason.len() <= RULE_ERROR_BYTES_MAX, "length of a reason")
            }
            _ => Ok(()),
        }
    }
}
