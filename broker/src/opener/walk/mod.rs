//! Walks a target depth-first and opens what it finds, file by file, as the caller.
//!
//! Runs in the opener with the caller's identity. Descriptors only: each entry is looked up in its
//! held directory, judged, then opened. Iterative, with bounded memory and descriptors whatever the
//! size and depth of the tree; nothing that is met is passed over without a report.

mod listing;
pub(super) mod lookup;
mod path;
mod resume;
mod stack;

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use fdbroker_common::outcome::{Change, Failure, Outcome, SkipReason};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::exclude::Excludes;
use super::grants::Tree;
use super::open::node::{About, DirectoryNode, Node, Openable};
use super::open::{Designated, DirectoryHandle, OpenContext, VettedFile, designated, outcome_of};

use listing::Lister;
use lookup::{Found, Lookup, look_up};
use path::WalkPath;
use stack::{Frame, OpenFrame, Stack};

/// What is walked and what is not.
#[derive(Debug, Default)]
pub struct WalkOptions {
    /// Stay on the file system of the target.
    pub one_filesystem: bool,
    /// Follow symbolic links.
    pub follow_links: bool,
    /// Entries to leave out.
    pub excludes: Excludes,
}

/// One target on its way. Costs nothing until the first [`Walk::next`].
#[derive(Debug)]
pub struct Walk {
    options: Rc<WalkOptions>,
    context: Rc<OpenContext>,
    target: Option<Start>,
    origin: Option<About>,
    /// The granted tree that it must not leave.
    tree: Option<Rc<Tree>>,
    path: WalkPath,
    stack: Stack,
    lister: Lister,
}

/// How a target is designated.
#[derive(Debug)]
enum Start {
    Descriptor(OwnedFd),
    /// By its name, beneath a granted tree.
    Named,
}

/// What one step of a walk brought. Paths are relative to the target and empty for itself.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// A file to scan.
    File {
        /// Where it was found.
        path: Vec<u8>,
        /// The file.
        file: VettedFile,
    },
    /// An entry, or a directory, that gives no (further) files.
    Outcome {
        /// Where it is.
        path: Vec<u8>,
        /// What to report.
        outcome: Outcome,
        /// Its size as far as known, else 0.
        size: u64,
    },
    /// Something was done, and there is nothing to tell yet.
    Pause,
    /// Nothing is left.
    End,
}

/// What becomes of an entry that is not opened, and its size if known.
type Passed = (Outcome, u64);

impl Walk {
    /// Prepares the walk of a target that a client calls `name`. Without a descriptor it is looked up by
    /// that, beneath the granted trees of the context.
    #[must_use]
    pub fn new(
        target: impl Into<Option<OwnedFd>>,
        name: Vec<u8>,
        options: Rc<WalkOptions>,
        context: Rc<OpenContext>,
    ) -> Self {
        Self {
            options,
            context,
            target: Some(target.into().map_or(Start::Named, Start::Descriptor)),
            origin: None,
            tree: None,
            path: WalkPath::new(name),
            stack: Stack::new(),
            lister: Lister::default(),
        }
    }

    /// Goes one step. After [`Step::End`] only more of it follow.
    #[expect(clippy::should_implement_trait, reason = "it does not end by None")]
    pub fn next(&mut self) -> Step {
        match self.target.take() {
            Some(target) => self.begin(target).unwrap_or_else(|(outcome, size)| Step::Outcome {
                path: Vec::new(),
                outcome,
                size,
            }),
            None => self.advance(),
        }
    }

    /// Whether it has not begun.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.target.is_some()
    }

    /// What is known of the target once it has begun.
    pub(in crate::opener) fn origin(&self) -> Option<About> {
        self.origin
    }

    fn begin(&mut self, target: Start) -> Result<Step, Passed> {
        let node = match target {
            Start::Descriptor(target) => Node::of(target).map_err(outcome_of),
            Start::Named => self.find(),
        };
        let node = node.map_err(|outcome| (outcome, 0))?;
        let about = node.about();
        self.origin = Some(about);
        if let Some(outcome) = self.options.excludes.exclusion(self.path.whole()) {
            return Err((outcome, about.size));
        }
        match designated(node, &self.context) {
            Ok(Designated::File(file)) => Ok(Step::File { path: Vec::new(), file }),
            Ok(Designated::Directory(handle)) => {
                self.path.begin_beneath();
                self.enter(handle, false);
                Ok(Step::Pause)
            }
            Ok(Designated::Not(outcome)) | Err(outcome) => Err((outcome, about.size)),
        }
    }

    /// Finds a target by its name.
    fn find(&mut self) -> Result<Node, Outcome> {
        let path = self.path.whole();
        let tree = self.context.granted().and_then(|trees| trees.reaching(path));
        let tree = tree.ok_or(Outcome::Denied)?;
        let look_up = || Node::of(tree.look_up(path)?).map_err(outcome_of);
        let found = tree.sole(|| Ok(Found { node: look_up()?, by_link: false }))?;
        self.tree = Some(tree);
        Ok(found.node)
    }

    fn advance(&mut self) -> Step {
        let Some(frame) = self.stack.top() else {
            return Step::End;
        };
        let path_end = frame.path_end;
        let Some(open) = frame.open.as_mut() else {
            // The deepest directory is always open; if ever not, its entries are not passed over silently.
            let path = self.path.relative_to(path_end);
            self.stack.pop();
            return Step::Outcome { path, outcome: Outcome::Unstable(Change::Moved), size: 0 };
        };
        if let Some(listed) = open.listing.take() {
            frame.cookie = listed.cookie;
            let hint = listed.hint;
            self.path.enter(path_end, listed.name);
            return self.visit(hint).unwrap_or_else(|(outcome, size)| Step::Outcome {
                path: self.path.relative(),
                outcome,
                size,
            });
        }
        if open.listing.is_exhausted() {
            return self.leave();
        }
        match self.lister.read(open.directory.as_fd(), frame.cookie, &mut open.listing) {
            Ok(()) => Step::Pause,
            Err(errno) => {
                open.listing.give_up();
                Step::Outcome {
                    path: self.path.relative_to(path_end),
                    outcome: outcome_of(errno),
                    size: 0,
                }
            }
        }
    }

    /// Deals with the entry to which the path leads.
    fn visit(&mut self, hint: FileType) -> Result<Step, Passed> {
        if self.path.is_too_long() {
            return Err((Outcome::Error(Failure::PathTooLong), 0));
        }
        if let Some(outcome) = self.options.excludes.exclusion(self.path.whole()) {
            return Err((outcome, 0));
        }
        // No link was followed and no `..`, so the path is the real one.
        if self.tree.as_ref().is_some_and(|tree| tree.excepts(self.path.whole())) {
            return Err((Outcome::Denied, 0));
        }
        let one_mount = self.tree.is_some();
        let how = Lookup {
            follow_links: self.options.follow_links,
            automount: hint == FileType::Directory && !self.options.one_filesystem && !one_mount,
            one_mount,
        };
        let vanished = (Outcome::Unstable(Change::Vanished), 0);
        let Some(frame) = self.stack.top() else {
            return Err(vanished);
        };
        let Some(open) = frame.open.as_ref() else {
            return Err(vanished);
        };
        let device = open.device;
        let name = self.path.component(frame.path_end, self.path.end());
        let plain = hint == FileType::RegularFile && !self.options.one_filesystem && !one_mount;
        if let Some(settled) = open.settled.filter(|_| plain)
            && let Some(file) = self.context.read_entry(open.directory.as_fd(), settled, name)
        {
            return Ok(Step::File { path: self.path.relative(), file });
        }
        let find = || look_up(open.directory.as_fd(), name, how);
        let found = self.tree.as_ref().map_or_else(find, |tree| tree.sole(find));
        let found = found.map_err(|outcome| (outcome, 0))?;
        let about = found.node.about();
        self.stay(about)
            .and_then(|()| {
                let Found { node, by_link } = found;
                // The directory is held, so its device number stands for the same file system.
                match node.vet(Some(device))? {
                    Openable::Regular(file) => Ok(Step::File {
                        file: self.context.read_file(&file)?,
                        path: self.path.relative(),
                    }),
                    Openable::Directory(directory) => self.descend(&directory, by_link),
                }
            })
            .map_err(|outcome| (outcome, about.size))
    }

    /// Keeps to the target's file system, if asked. Only for directories the device number alone
    /// decides: overlayfs gives its files other numbers than its directories.
    fn stay(&self, about: About) -> Result<(), Outcome> {
        let Some(origin) = self.origin.filter(|_| self.options.one_filesystem) else {
            return Ok(());
        };
        let same_mount = about.kind != FileType::Directory && about.mount == origin.mount;
        if about.id.device == origin.id.device || same_mount {
            Ok(())
        } else {
            Err(Outcome::Skipped(SkipReason::OtherFilesystem))
        }
    }

    fn descend(&mut self, directory: &DirectoryNode, by_link: bool) -> Result<Step, Outcome> {
        if self.stack.contains(directory.parts().1.id) {
            return Err(Outcome::Skipped(SkipReason::DirectoryLoop));
        }
        if by_link && !self.stack.has_room_for_link() {
            return Err(Outcome::Error(Failure::System(Errno::LOOP.raw_os_error())));
        }
        let handle = self.context.read_directory(directory)?;
        self.enter(handle, by_link);
        Ok(Step::Pause)
    }

    fn enter(&mut self, handle: DirectoryHandle, by_link: bool) {
        let given_up = self.stack.push(Frame {
            id: handle.about.id,
            path_end: self.path.end(),
            cookie: 0,
            by_link,
            open: Some(OpenFrame {
                directory: handle.descriptor,
                device: handle.device,
                settled: handle.settled,
                listing: self.lister.fresh(),
            }),
        });
        if let Some(open) = given_up {
            self.lister.recycle(open.listing);
        }
    }
}
