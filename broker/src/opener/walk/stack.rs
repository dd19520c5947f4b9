//! The directories between the target and where the walk is, of which a bounded number is open.
//!
//! Runs in the opener with the caller's identity; makes no system call. The target itself always
//! stays open, so that lost ground can be searched from there.

use std::os::fd::OwnedFd;

use fdbroker_common::limits::OPEN_DIRECTORIES_MAX;

use super::listing::Listing;
use crate::opener::filesystem::RealDevice;
use crate::opener::open::direct::Settled;
use crate::opener::open::node::ObjectId;

/// Symbolic links to directories that may lie between the target and an entry; the kernel follows
/// as many in one path. A directory with a link that the walk is in cannot be closed, since `..`
/// of the link's target leads elsewhere.
pub(super) const LINKS_MAX: usize = 40;
const _: () = assert!(LINKS_MAX + 2 < OPEN_DIRECTORIES_MAX);

/// One directory that the walk is in.
#[derive(Debug)]
pub(super) struct Frame {
    /// Which directory.
    pub(super) id: ObjectId,
    /// Where its path ends in the buffer of the walk.
    pub(super) path_end: usize,
    /// Behind the last entry that was consumed.
    pub(super) cookie: u64,
    /// Whether a symbolic link led to it.
    pub(super) by_link: bool,
    /// Descriptor and names, unless given up for a while.
    pub(super) open: Option<OpenFrame>,
}

/// What an open directory occupies.
#[derive(Debug)]
pub(super) struct OpenFrame {
    /// The directory, readable unless the listing has ended.
    pub(super) directory: OwnedFd,
    /// Its file system.
    pub(super) device: RealDevice,
    /// Whether its entries may be opened at once.
    pub(super) settled: Option<Settled>,
    /// Names not yet consumed.
    pub(super) listing: Listing,
}

/// From the target down.
#[derive(Debug)]
pub(super) struct Stack {
    frames: Vec<Frame>,
    open: usize,
    links: usize,
    /// Frames from 1 to below this are closed, or kept open by a link.
    settled: usize,
}

impl Stack {
    /// No directory.
    pub(super) fn new() -> Self {
        Self { frames: Vec::new(), open: 0, links: 0, settled: 1 }
    }

    /// Whether the walk is in this directory, at any depth.
    pub(super) fn contains(&self, id: ObjectId) -> bool {
        self.frames.iter().any(|frame| frame.id == id)
    }

    /// Whether one more directory may be entered by a link.
    pub(super) fn has_room_for_link(&self) -> bool {
        self.links < LINKS_MAX
    }

    /// All frames.
    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The deepest frame.
    pub(super) fn top(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    /// Enters an open directory. Gives up the shallowest that can be when too many are open.
    pub(super) fn push(&mut self, frame: Frame) -> Option<OpenFrame> {
        self.open += usize::from(frame.open.is_some());
        self.links += usize::from(frame.by_link);
        self.frames.push(frame);
        if self.open > OPEN_DIRECTORIES_MAX { self.close_one() } else { None }
    }

    /// Leaves the deepest directory.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop()?;
        self.open -= usize::from(frame.open.is_some());
        self.links -= usize::from(frame.by_link);
        // The new top is in use, and no longer kept by a link below it.
        self.settled = self.settled.min(self.frames.len().saturating_sub(1)).max(1);
        Some(frame)
    }

    /// Gives the deepest frame back what it had given up.
    pub(super) fn reopen_top(&mut self, open: OpenFrame) {
        if let Some(frame) = self.frames.last_mut() {
            self.open += usize::from(frame.open.is_none());
            frame.open = Some(open);
        }
    }

    fn close_one(&mut self) -> Option<OpenFrame> {
        while let [frame, next, ..] = self.frames.get_mut(self.settled..)? {
            self.settled += 1;
            if next.by_link {
                continue;
            }
            if let Some(open) = frame.open.take() {
                self.open -= 1;
                return Some(open);
            }
        }
        None
    }
}
