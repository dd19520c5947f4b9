//! Admin link: `fdbrokerctl` (tag 0x51) and the broker (tag 0x52).
//!
//! Only root, or the user whose own broker it is, can connect. A request is one verb, and for a probe
//! the number of an act: that is all that is parsed here.

use serde::{Deserialize, Serialize};

use crate::generation::GenerationId;
use crate::histogram::Histogram;
use crate::lease_link::LossCause;
use crate::limits::{OPENERS_MAX, RULE_ERROR_BYTES_MAX};
use crate::probe::Act;
use crate::totals::Totals;
use crate::wire::{Message, WireError, bound};

/// Most callers whose lost workers are remembered.
pub const PENALISED_MAX: usize = 1024;

/// How many of the last errors are told, and the longest.
pub const ERRORS_MAX: usize = 8;

/// Longer errors are cut.
pub const ERROR_BYTES_MAX: usize = 1024;

/// What an administrator asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// How are things?
    Status,
    /// Read the rules again.
    Reload,
    /// Have a worker made that tries this and ends. One at a time.
    Probe(Act),
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminReply {
    /// How things are.
    Status(Box<Status>),
    /// The new rules serve from now on.
    Reloaded {
        /// Names the rules.
        generation: GenerationId,
        /// How many there are.
        rules: u32,
    },
    /// The old rules go on serving; one line why.
    ReloadFailed {
        /// File, line, reason.
        reason: serde_bytes::ByteBuf,
    },
    /// How the worker that was to try something ended.
    Probed(LossCause),
    /// No scanner is ready to make one.
    NotProbed,
}

/// A snapshot of the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the broker.
    pub broker_pid: u32,
    /// Process id of the dispatcher.
    pub dispatcher_pid: u32,
    /// Process id of the supervisor, 0 without scanner or if it is not known.
    pub scanner_pid: u32,
    /// User id of the scanner.
    pub scanner_uid: u32,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Rules in force; none while no scanner is ready.
    pub generation: Option<GenerationId>,
    /// How many rules.
    pub rules: u32,
    /// Workers in all that may be lent at once.
    pub workers_max: u32,
    /// Workers alive.
    pub workers: u32,
    /// Workers lent.
    pub workers_lent: u32,
    /// Openers.
    pub openers: Vec<OpenerStatus>,
    /// Connections served since start.
    pub connections: u64,
    /// Workers lost to a crash or a deadline since start.
    pub workers_lost: u64,
    /// Outcomes since start.
    pub totals: Totals,
    /// Last error, for people; empty if none.
    pub last_error: String,
    /// Workers that were to end and hang in the kernel.
    pub workers_stuck: u32,
    /// Callers that wait longer for workers now, because they have lost many.
    pub penalised_uids: Vec<u32>,
    /// Errors since start.
    pub errors: u64,
    /// The last of them, oldest first.
    pub last_errors: Vec<ErrorNote>,
    /// How often rules were loaded since start, the first time included.
    pub loads: u64,
    /// How often they were refused.
    pub load_failures: u64,
    /// When those that serve were loaded, in seconds since 1970; 0 if none were.
    pub loaded_at_s: u64,
    /// What came of the last attempt.
    pub last_load: Option<LastLoad>,
    /// How long openers waited for the first worker of a scan.
    pub worker_wait: Histogram,
    /// How long connections lasted, from that wait on.
    pub connection_time: Histogram,
}

/// An error, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorNote {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// What; at most [`ERROR_BYTES_MAX`].
    pub message: String,
}

/// What came of the last attempt to load rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLoad {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// Why they were refused, if they were; at most [`ERROR_BYTES_MAX`].
    pub refused: Option<String>,
}

/// One opener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenerStatus {
    /// Process id.
    pub pid: u32,
    /// The caller that it serves.
    pub caller_uid: u32,
    /// Whether it has a client now.
    pub busy: bool,
    /// Workers lent to it.
    pub workers: u32,
    /// Whether it has none and waits for one.
    pub waiting: bool,
}

impl Message for AdminRequest {
    const TAG: u8 = 0x51;
    const DESCRIPTORS_MAX: usize = 0;
}

impl Message for AdminReply {
    const TAG: u8 = 0x52;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Status(status) => {
                bound(status.openers.len() <= OPENERS_MAX, "number of openers")?;
                bound(status.penalised_uids.len() <= PENALISED_MAX, "number of penalised users")?;
                bound(status.last_errors.len() <= ERRORS_MAX, "number of errors")?;
                let refused = status.last_load.iter().filter_map(|load| load.refused.as_ref());
                let notes = status.last_errors.iter().map(|note| &note.message).chain(refused);
                let short = notes.map(String::len).all(|length| length <= ERROR_BYTES_MAX);
                let last = status.last_error.len() <= 2 * RULE_ERROR_BYTES_MAX;
                bound(short && last, "length of an error")
            }
            Self::ReloadFailed { reason } => {
                bound(reason.len() <= RULE_ERROR_BYTES_MAX, "length of a reason")
            }
            Self::Reloaded { .. } | Self::Probed(_) | Self::NotProbed => Ok(()),
        }
    }
}
