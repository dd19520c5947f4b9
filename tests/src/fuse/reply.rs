//! The bytes of requests and replies, as linux/fuse.h has them.

use super::Node;

const SECONDS_REMEMBERED: u64 = 3600;
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;

const INIT: u32 = 26;
const FORGET: u32 = 2;
const RELEASE: u32 = 18;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

/// `FOPEN_DIRECT_IO`.
const DIRECT: u32 = 1;

/// A request: `struct fuse_in_header` and what follows it.
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) node: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            opcode: u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?),
            unique: number(bytes, 8)?,
            node: number(bytes, 16)?,
            body: bytes.get(40..)?,
        })
    }

    /// The name of a look-up, without the zero at its end.
    pub(super) fn name(&self) -> &[u8] {
        self.body.strip_suffix(&[0]).unwrap_or(self.body)
    }

    /// Offset and size of a `struct fuse_read_in`.
    fn range(&self) -> (usize, usize) {
        let offset = number(self.body, 8).unwrap_or(0);
        let size = self.body.get(16..20).and_then(|size| size.try_into().ok());
        let size = size.map_or(0, u32::from_ne_bytes);
        (usize::try_from(offset).unwrap_or(usize::MAX), size as usize)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What is said to a request.
pub(super) enum Body {
    Bytes(Vec<u8>),
    Errno(i32),
    /// The request is one without an answer, or is to have none.
    Silence,
}

impl Body {
    /// The whole reply, `struct fuse_out_header` first.
    pub(super) fn reply(self, unique: u64) -> Option<Vec<u8>> {
        let (error, body) = match self {
            Self::Bytes(body) => (0, body),
            Self::Errno(errno) => (-errno, Vec::new()),
            Self::Silence => return None,
        };
        let length = u32::try_from(16 + body.len()).ok()?;
        let header = [length.to_ne_bytes(), error.to_ne_bytes()].concat();
        Some([header, unique.to_ne_bytes().to_vec(), body].concat())
    }

    /// Requests that no test is interested in.
    pub(super) fn other(opcode: u32) -> Self {
        match opcode {
            INIT => Self::Bytes(init()),
            RELEASE | RELEASEDIR | DESTROY => Self::Bytes(Vec::new()),
            FORGET | BATCH_FORGET | INTERRUPT => Self::Silence,
            _ => Self::Errno(nix::libc::ENOSYS),
        }
    }

    /// `struct fuse_open_out`.
    pub(super) fn opened(about: &Node) -> Self {
        let flags = if matches!(about, Node::Liar { direct: true, .. }) { DIRECT } else { 0 };
        Self::Bytes([0_u64.to_ne_bytes().as_slice(), &flags.to_ne_bytes(), &[0; 4]].concat())
    }

    pub(super) fn read(about: &Node, request: &Request<'_>) -> Self {
        let contents = match about {
            Node::File(contents) | Node::Liar { contents, .. } => contents.as_slice(),
            Node::Broken(_, errno) => return Self::Errno(*errno),
            Node::Directory | Node::Endless => return Self::Errno(nix::libc::EISDIR),
        };
        let (offset, size) = request.range();
        let rest = contents.get(offset..).unwrap_or_default();
        Self::Bytes(rest.iter().copied().take(size).collect())
    }

    /// `struct fuse_dirent` for each child from the offset on.
    pub(super) fn listed(children: &[(u64, &str)], request: &Request<'_>) -> Self {
        let (offset, size) = request.range();
        let rest = children.iter().enumerate().skip(offset);
        let entries = rest.map(|(place, (node, name))| (*node, place as u64 + 1, (*name).into()));
        Self::entries(entries, size)
    }

    /// The same without end.
    pub(super) fn endless(request: &Request<'_>) -> Self {
        let (offset, size) = request.range();
        let entries = (offset as u64..).map(|place| (place + 1000, place + 1, format!("{place}")));
        Self::entries(entries, size)
    }

    fn entries(entries: impl Iterator<Item = (u64, u64, String)>, size: usize) -> Self {
        let mut bytes = Vec::new();
        for (node, next, name) in entries {
            let padded = name.len().next_multiple_of(8);
            if bytes.len() + 24 + padded > size {
                break;
            }
            bytes.extend(node.to_ne_bytes());
            bytes.extend(next.to_ne_bytes());
            bytes.extend(u32::try_from(name.len()).unwrap_or(0).to_ne_bytes());
            // DT_UNKNOWN: that a type is told is a courtesy.
            bytes.extend(0_u32.to_ne_bytes());
            bytes.extend(name.as_bytes());
            bytes.resize(bytes.len() + padded - name.len(), 0);
        }
        Self::Bytes(bytes)
    }

    /// `struct fuse_kstatfs`, all zeroes but the longest name.
    pub(super) fn statfs() -> Self {
        let mut bytes = vec![0; 80];
        bytes.splice(44..48, 255_u32.to_ne_bytes());
        Self::Bytes(bytes)
    }
}

/// `struct fuse_init_out`: nothing that is optional.
fn init() -> Vec<u8> {
    let mut bytes = [7_u32, 31, 128 * 1024, 0].map(u32::to_ne_bytes).concat();
    // Requests in the background, and when there are many of them.
    bytes.extend([64_u16, 48].map(u16::to_ne_bytes).concat());
    // Largest write, and granularity of times.
    bytes.extend([128 * 1024_u32, 1].map(u32::to_ne_bytes).concat());
    bytes.resize(64, 0);
    bytes
}

/// `struct fuse_entry_out`.
pub(super) fn entry(node: u64, about: &Node, remembered: bool) -> Vec<u8> {
    let seconds = if remembered { SECONDS_REMEMBERED } else { 0 };
    let numbers = [node, 0, SECONDS_REMEMBERED, seconds, 0].map(u64::to_ne_bytes).concat();
    [numbers, attr(node, about)].concat()
}

/// `struct fuse_attr_out`.
pub(super) fn attributes(node: u64, about: &Node, remembered: bool) -> Vec<u8> {
    let seconds = if remembered { SECONDS_REMEMBERED } else { 0 };
    [[seconds, 0].map(u64::to_ne_bytes).concat(), attr(node, about)].concat()
}

/// `struct fuse_attr`.
fn attr(node: u64, about: &Node) -> Vec<u8> {
    let (mode, size) = match about {
        Node::Directory | Node::Endless => (DIRECTORY, 0),
        Node::File(contents) => (FILE, contents.len() as u64),
        Node::Liar { claims, .. } => (FILE, *claims),
        Node::Broken(size, _) => (FILE, *size),
    };
    let numbers = [node, size, size.div_ceil(512), 0, 0, 0].map(u64::to_ne_bytes).concat();
    // Nanoseconds, mode, links, owner, group, device, block size, flags.
    let rest = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat();
    [numbers, rest].concat()
}
