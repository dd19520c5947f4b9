//! What `fdbroker --explain` and `fdbroker --explain-walk` write to standard output for fdbrokerctl: why a
//! user may or may not have a path scanned. Data; no link carries it, but the form is that of messages.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::wire::Message;

/// How the configuration decides on a user and a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// What decides whether the user is served, and as whom.
    pub rule: Rule,
    /// The limits that count: where they are written, and for people.
    pub limits: Option<(String, String)>,
    /// Each grant that the user has: where it is written, and what it makes of the path.
    pub grants: Vec<(String, Reach)>,
}

/// What decides on a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// They may have scanned what they can read.
    Default,
    /// Root: everything, read under this user id.
    Root(u32),
    /// The owner of a broker of their own.
    Owner,
    /// An entry denies them; where it is written.
    Denied(String),
    /// The broker is another user's own.
    NotServed,
}

/// What a grant makes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// It is read, if it is a file, or what is in it.
    Reached(Kind),
    /// It is beneath none of the trees.
    Outside,
    /// It is excepted.
    Excepted,
    /// There is a link on the way, or it is one.
    Link,
    /// Another file system is mounted on the way.
    Mount,
    /// It has several names.
    HardLinks,
    /// It cannot be looked up: this errno.
    Failed(i32),
}

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file of a real file system.
    File,
    /// A symbolic link.
    Link,
    /// Something that is skipped: a pipe, a socket, a device, a file of the kernel.
    Special,
}

/// How far a user gets on the way to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// What was found, one after the other.
    pub steps: Vec<Step>,
    /// Why the next step failed, as errno; else whether the last one can be read.
    pub end: Result<bool, i32>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The path so far.
    pub path: ByteBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its mode.
    pub mode: u32,
    /// Where it leads, if it is a link.
    pub target: ByteBuf,
}

impl Message for Judgement {
    const TAG: u8 = 0x71;
    const DESCRIPTORS_MAX: usize = 0;
}

impl Message for Walk {
    const TAG: u8 = 0x72;
    const DESCRIPTORS_MAX: usize = 0;
}
