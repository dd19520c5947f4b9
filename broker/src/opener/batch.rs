//! Files on their way to a worker: cut into batches by count and by bytes.
//!
//! Runs in the opener. A file stays open here until it has been answered, so that it can be given
//! to another worker when the first one is lost.

use std::collections::VecDeque;
use std::rc::Rc;

use fdbroker_common::limits::{
    BATCH_BYTES_MAX, BATCH_FILES_MAX, MESSAGE_BYTES_MAX, PATH_BYTES_MAX,
};

use super::fleet::FIRST_BATCH_FILES;
use super::open::VettedFile;

/// What a job takes in a message besides the name, at most: eight numbers of ten bytes.
const JOB_OVERHEAD_BYTES: usize = 80;
/// What all jobs of a message may take.
const JOBS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 64;

/// One file that waits for its verdict.
pub struct Pending {
    /// The client's number of the target.
    pub target: u32,
    /// Path beneath the target.
    pub path: Vec<u8>,
    /// What the client calls the target.
    pub target_name: Rc<[u8]>,
    /// The file.
    pub file: VettedFile,
    /// Whether it was with a worker when that one crashed or overran: it is tried once more, alone.
    pub suspect: bool,
    /// Whether it ended a worker that had answered others before: one of those may have been to blame, so
    /// that it is tried once more with one that has seen nothing.
    pub doubted: bool,
    /// How often a worker was taken away that had this file in hand. Then it is tried alone, too: what
    /// a worker has read but not answered yet cannot be told from what it is reading.
    pub interruptions: u8,
}

impl Pending {
    /// What the client calls the file, for rules that look at names; never used to open anything.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = whole_name(&self.target_name, &self.path);
        // The end of a name says more than its beginning; see `has_whole_name`.
        name.split_off(name.len().saturating_sub(PATH_BYTES_MAX))
    }

    /// Whether the name fits a message as it is.
    #[must_use]
    pub fn has_whole_name(&self) -> bool {
        self.target_name.len().saturating_add(self.path.len()) < PATH_BYTES_MAX
    }

    /// Room that it takes in a message at most.
    fn message_bytes(&self) -> usize {
        let name = self.target_name.len().saturating_add(self.path.len()).min(PATH_BYTES_MAX);
        name.saturating_add(JOB_OVERHEAD_BYTES)
    }

    /// Whether it gets a worker to itself.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.suspect || self.interruptions > 0
    }

    /// Bytes that a worker has to read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.file.stamp().size
    }
}

/// What the client calls a file: the target, then the path beneath it.
#[must_use]
pub fn whole_name(target: &[u8], path: &[u8]) -> Vec<u8> {
    let mut name = target.to_vec();
    if !path.is_empty() {
        if !name.ends_with(b"/") {
            name.push(b'/');
        }
        name.extend_from_slice(path);
    }
    name
}

/// What waits to be dispatched. Bounded by whoever fills it, see [`Queue::has_room`].
#[derive(Default)]
pub struct Queue {
    ordinary: VecDeque<Pending>,
    suspects: VecDeque<Pending>,
}

/// Files that go to a worker in one message.
pub struct Batch {
    /// At least one; a suspect is the only one.
    pub files: Vec<Pending>,
}

impl Queue {
    /// Whether another file may be opened ahead of the workers.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.ordinary.len() < BATCH_FILES_MAX.saturating_mul(2)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ordinary.is_empty() && self.suspects.is_empty()
    }

    /// Whether there is enough for another worker, too: many files, or large ones.
    #[must_use]
    pub fn is_for_several(&self) -> bool {
        let bytes = self.ordinary.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size()));
        self.ordinary.len() >= FIRST_BATCH_FILES || bytes > BATCH_BYTES_MAX
    }

    /// How many files wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordinary.len().saturating_add(self.suspects.len())
    }

    /// Adds a file.
    pub fn push(&mut self, pending: Pending) {
        self.ordinary.push_back(pending);
    }

    /// Takes a file back that a lost worker has not answered.
    pub fn put_back(&mut self, pending: Pending) {
        if pending.is_alone() {
            self.suspects.push_back(pending);
        } else {
            self.ordinary.push_front(pending);
        }
    }

    /// Whether a suspect waits for a worker of its own.
    #[must_use]
    pub fn has_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether the next suspect is for a worker that has seen nothing.
    #[must_use]
    pub fn wants_unused(&self) -> bool {
        self.suspects.front().is_some_and(|pending| pending.doubted)
    }

    /// The next suspect, for a worker that has nothing else to do.
    pub fn suspect(&mut self) -> Option<Batch> {
        let files = vec![self.suspects.pop_front()?];
        Some(Batch { files })
    }

    /// The next batch of at most `count` files; a file as large as a batch goes alone.
    pub fn batch(&mut self, count: usize) -> Option<Batch> {
        let mut files = Vec::new();
        let mut bytes = 0_u64;
        let mut message = 0_usize;
        while files.len() < count.clamp(1, BATCH_FILES_MAX) {
            let Some(next) = self.ordinary.front() else {
                break;
            };
            bytes = bytes.saturating_add(next.size());
            message = message.saturating_add(next.message_bytes());
            let full = bytes > BATCH_BYTES_MAX || message > JOBS_BYTES_MAX;
            if full && !files.is_empty() {
                break;
            }
            files.extend(self.ordinary.pop_front());
        }
        (!files.is_empty()).then_some(Batch { files })
    }

    /// Drops everything: the client has gone.
    pub fn clear(&mut self) {
        self.ordinary.clear();
        self.suspects.clear();
    }
}
