//! Audit link: the broker (tag 0x67) tells its auditor what it decided, in numbers; it hears nothing.
//!
//! So who a record is about is the kernel's word, told by root: no opener has a say in it.

use fdbroker_common::opener_link::Identity;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::wire::Message;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToAuditor {
    /// First message: the user id to take, if any, and an `AuditPlan`, which the broker passes on unread.
    Begin(Option<u32>, ByteBuf),
    /// An opener was started (one descriptor: its record link): its number, its process id, what it may.
    Opener(u32, u32, Identity),
    /// A connection of this user, group and process, by the kernel's word, was handed to the opener of this
    /// number, or refused. If so said, with a descriptor of the process.
    Connection((u32, u32, i32), bool, Result<u32, Refusal>),
}

impl Message for BrokerToAuditor {
    const TAG: u8 = 0x67;
    const DESCRIPTORS_MAX: usize = 1;

    fn descriptors(&self) -> usize {
        usize::from(matches!(self, Self::Opener(..) | Self::Connection(_, true, _)))
    }
}
