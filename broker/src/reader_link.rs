//! Reader link: a rule reader (tag 0x63) and the dispatcher (tag 0x64, which says nothing).

use fdbroker_common::limits::{
    RULE_ERROR_BYTES_MAX, RULE_FILE_NAME_BYTES_MAX, RULE_FILES_PER_MESSAGE_MAX,
};
use fdbroker_common::wire::{Message, WireError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What a rule reader says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReaderToDispatcher {
    /// Rule files by name, each with one descriptor in the same order.
    Rules(Vec<ByteBuf>),
    /// All rule files have been told.
    End,
    /// The rule files cannot be opened; one line why.
    Failed(ByteBuf),
    /// First, if there is one: an inotify descriptor that tells of changes in the directory.
    Watch,
}

/// What the dispatcher says: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DispatcherToReader {}

impl Message for ReaderToDispatcher {
    const TAG: u8 = 0x63;
    const DESCRIPTORS_MAX: usize = RULE_FILES_PER_MESSAGE_MAX;

    fn descriptors(&self) -> usize {
        match self {
            Self::Rules(names) => names.len(),
            Self::Watch => 1,
            Self::End | Self::Failed(_) => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        let holds = match self {
            Self::Rules(names) => {
                (1..=RULE_FILES_PER_MESSAGE_MAX).contains(&names.len())
                    && names.iter().all(|name| name.len() <= RULE_FILE_NAME_BYTES_MAX)
            }
            Self::Failed(reason) => reason.len() <= RULE_ERROR_BYTES_MAX,
            Self::End | Self::Watch => true,
        };
        holds.then_some(()).ok_or(WireError::Bound("rules"))
    }
}

impl Message for DispatcherToReader {
    const TAG: u8 = 0x64;
    const DESCRIPTORS_MAX: usize = 0;
}
