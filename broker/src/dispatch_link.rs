//! Dispatch link: the broker (tag 0x61) and its dispatcher (tag 0x62), both of this executable.
//!
//! The broker hands over what it has started; the dispatcher asks for the few things that need root.
//! Nothing that it asks has a field that chooses a file, a user or a process.

use fdbroker_common::limits::RULE_ERROR_BYTES_MAX;
use fdbroker_common::wire::{Message, WireError, bound};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What the broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "process ids, for people, and user ids")]
pub enum BrokerToDispatcher {
    /// First message. Two descriptors: the listening scanner and admin sockets.
    Begin(Plan),
    /// First message of a private broker, which has no sockets.
    BeginPrivate(Plan),
    /// An opener was started for this caller (one descriptor: its lease link).
    Opener { pid: u32, caller_uid: u32 },
    /// fdscand was started (one descriptor: its link).
    Scanner { pid: u32 },
    /// A rule reader was started (one descriptor: its link).
    RuleReader,
    /// The administrator asked for the rules to be read again, by signal.
    Reload,
}

/// What was decided at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Process id of the broker, for people.
    pub broker_pid: u32,
    /// User id that the dispatcher takes; none: it keeps the one that it has.
    pub uid: Option<u32>,
    /// User id that a scanner must have.
    pub scanner_uid: u32,
    /// User id that may use the admin socket.
    pub admin_uid: u32,
    /// Whether the broker starts fdscand.
    pub starts_scanner: bool,
    /// Whether rules are read again when their directory changes.
    pub watch_rules: bool,
    /// Workers that are lent at once; 0 leaves it to the scanner.
    pub workers: u32,
    /// Least level of log messages, as [`log::LevelFilter`] numbers it.
    pub log_level: u8,
}

/// What the dispatcher asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DispatcherToBroker {
    /// Scans can be served: open the client socket.
    Serving,
    /// Start a rule reader.
    ReadRules,
    /// Start fdscand.
    StartScanner,
    /// There is no use in going on; one line why.
    Fail(ByteBuf),
}

impl Message for BrokerToDispatcher {
    const TAG: u8 = 0x61;
    const DESCRIPTORS_MAX: usize = 2;

    fn descriptors(&self) -> usize {
        match self {
            Self::Begin(_) => 2,
            Self::Opener { .. } | Self::Scanner { .. } | Self::RuleReader => 1,
            Self::BeginPrivate(_) | Self::Reload => 0,
        }
    }
}

impl Message for DispatcherToBroker {
    const TAG: u8 = 0x62;
    const DESCRIPTORS_MAX: usize = 0;

    fn check(&self) -> Result<(), WireError> {
        let fits = !matches!(self, Self::Fail(reason) if reason.len() > RULE_ERROR_BYTES_MAX);
        bound(fits, "length of a reason")
    }
}
