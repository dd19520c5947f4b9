//! The path of the entry at hand: one buffer that grows and shrinks with the walk.
//!
//! Runs in the opener with the caller's identity. The path is for people and patterns; from it, only
//! single components are ever looked up.

use fdbroker_common::limits::PATH_BYTES_MAX;

/// The client's name of the target, then the path beneath it.
#[derive(Debug)]
pub(super) struct WalkPath {
    bytes: Vec<u8>,
    relative_from: usize,
}

impl WalkPath {
    /// The target itself.
    pub(super) fn new(name: Vec<u8>) -> Self {
        Self { relative_from: name.len(), bytes: name }
    }

    /// Puts a slash between name and entries; the target is a directory.
    pub(super) fn begin_beneath(&mut self) {
        if !self.bytes.is_empty() && !self.bytes.ends_with(b"/") {
            self.bytes.push(b'/');
        }
        self.relative_from = self.bytes.len();
    }

    /// As people know it.
    pub(super) fn whole(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Beneath the target, cut to what a report can carry.
    pub(super) fn relative(&self) -> Vec<u8> {
        self.relative_to(self.bytes.len())
    }

    /// The first part of it, up to where a directory's path ends.
    pub(super) fn relative_to(&self, end: usize) -> Vec<u8> {
        let end = end.min(self.relative_from.saturating_add(PATH_BYTES_MAX));
        self.bytes.get(self.relative_from..end).unwrap_or_default().to_vec()
    }

    /// Whether it is longer than a report can carry.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.len() - self.relative_from > PATH_BYTES_MAX
    }

    /// Goes to an entry of the directory whose path ends at `directory_end`.
    pub(super) fn enter(&mut self, directory_end: usize, name: &[u8]) {
        self.bytes.truncate(directory_end);
        if directory_end > self.relative_from {
            self.bytes.push(b'/');
        }
        self.bytes.extend_from_slice(name);
    }

    /// Goes back up to where a directory's path ends.
    pub(super) fn return_to(&mut self, directory_end: usize) {
        self.bytes.truncate(directory_end);
    }

    /// The component between the paths of a directory and of one of its entries.
    pub(super) fn component(&self, directory_end: usize, entry_end: usize) -> &[u8] {
        let start = directory_end + usize::from(directory_end > self.relative_from);
        self.bytes.get(start..entry_end).unwrap_or_default()
    }
}
