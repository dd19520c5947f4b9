//! What the administrator wants to be recorded, and where. The broker passes it on unread.

use std::ffi::OsString;

use fdbroker_common::wire::{Message, WireError, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// How the record of who had what scanned is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPlan {
    /// Where it is written.
    pub to: AuditTo,
    /// How.
    pub format: AuditFormat,
    /// Of which files there is a record of their own.
    pub files: AuditFiles,
}

/// Where records are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditTo {
    /// To the journal under systemd, else to standard error.
    #[default]
    Auto,
    /// To the journal.
    Journal,
    /// To standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// To a file of this absolute path.
    File(OsString),
}

/// How records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which files have a record of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditFiles {
    /// None.
    None,
    /// Matches, and what was not read to the end.
    #[default]
    Findings,
    /// All.
    All,
}

impl AuditPlan {
    /// As the broker passes it on; nothing if nothing is to be recorded.
    ///
    /// # Errors
    /// A path that is longer than a message.
    pub fn encoded(&self) -> Result<Option<ByteBuf>, WireError> {
        let mut bytes = Vec::new();
        encode(self, &mut bytes)?;
        Ok((self.to != AuditTo::Off).then(|| bytes.into()))
    }
}

impl Message for AuditPlan {
    const TAG: u8 = 0x6b;
    const DESCRIPTORS_MAX: usize = 0;
}
