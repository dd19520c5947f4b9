//! The way back up from a finished directory, to one that had to be closed meanwhile.
//!
//! Runs in the opener with the caller's identity. `..` of the finished directory is tried first. If
//! it is another directory by now, the names from the nearest open one are; what cannot be found
//! again is reported as moved, once, and everything above it goes on.

use std::os::fd::AsFd;

use fdbroker_common::outcome::{Change, Outcome};
use rustix::fs::{SeekFrom, seek};
use rustix::io::retry_on_intr;

use crate::opener::open::node::DirectoryNode;
use crate::opener::open::{DirectoryHandle, outcome_of};

use super::listing::Listing;
use super::lookup::{find_again, parent_of};
use super::stack::{Frame, OpenFrame};
use super::{Step, Walk};

impl Walk {
    /// Leaves the deepest directory.
    pub(super) fn leave(&mut self) -> Step {
        let Some(left) = self.stack.pop() else {
            return Step::End;
        };
        let one_mount = self.tree.is_some();
        let step = match self.stack.top() {
            None => Step::Pause,
            Some(parent) if parent.open.is_some() => {
                self.path.return_to(parent.path_end);
                Step::Pause
            }
            Some(parent) => {
                let id = parent.id;
                match left.open.as_ref().map(|below| parent_of(below, id, one_mount)) {
                    Some(Ok(directory)) => self.reopen(directory).unwrap_or(Step::Pause),
                    _ => self.search(&left),
                }
            }
        };
        if let Some(open) = left.open {
            self.lister.recycle(open.listing);
        }
        step
    }

    /// Opens the deepest frame again. If it cannot be read any more it says so and has no more
    /// entries, but is still the way to those above it.
    fn reopen(&mut self, directory: DirectoryNode) -> Option<Step> {
        let frame = self.stack.top()?;
        self.path.return_to(frame.path_end);
        let device = directory.device();
        let opened =
            self.context.read_directory(&directory).and_then(|handle| sought(handle, frame.cookie));
        let (open, failed) = match opened {
            Ok(handle) => (
                OpenFrame {
                    directory: handle.descriptor,
                    device,
                    settled: handle.settled,
                    listing: self.lister.fresh(),
                },
                None,
            ),
            Err(outcome) => (
                OpenFrame {
                    directory: directory.into_descriptor(),
                    device,
                    settled: None,
                    listing: Listing::ended(),
                },
                Some(Step::Outcome { path: self.path.relative(), outcome, size: 0 }),
            ),
        };
        self.stack.reopen_top(open);
        failed
    }

    /// Finds as many of the closed directories again as possible, by their names. `left` is the
    /// directory from which `..` did not lead back.
    fn search(&mut self, left: &Frame) -> Step {
        let mut found: Option<DirectoryNode> = None;
        let mut above: Option<&Frame> = None;
        let mut kept = 0;
        let mut lost_end = left.path_end;
        let one_mount = self.tree.is_some();
        for (index, frame) in self.stack.frames().iter().enumerate() {
            if frame.open.is_some() {
                found = None;
            } else {
                let start = match (&found, above.and_then(|above| above.open.as_ref())) {
                    (Some(directory), _) => Some(directory.parts().0.as_fd()),
                    (None, Some(open)) => Some(open.directory.as_fd()),
                    (None, None) => None,
                };
                let from = above.map_or(0, |above| above.path_end);
                let name = self.path.component(from, frame.path_end);
                match start
                    .map(|start| find_again(start, name, frame.id, (frame.by_link, one_mount)))
                {
                    Some(Ok(directory)) => found = Some(directory),
                    _ => {
                        lost_end = frame.path_end;
                        break;
                    }
                }
            }
            above = Some(frame);
            kept = index + 1;
        }
        let moved = Step::Outcome {
            path: self.path.relative_to(lost_end),
            outcome: Outcome::Unstable(Change::Moved),
            size: 0,
        };
        while self.stack.frames().len() > kept {
            self.stack.pop();
        }
        match found {
            Some(directory) => self.reopen(directory).unwrap_or(moved),
            None => moved,
        }
    }
}

fn sought(handle: DirectoryHandle, cookie: u64) -> Result<DirectoryHandle, Outcome> {
    retry_on_intr(|| seek(&handle.descriptor, SeekFrom::Start(cookie))).map_err(outcome_of)?;
    Ok(handle)
}
