//! What judges bytes.
//!
//! An engine is prepared in a template and used in the workers forked from it, unprivileged and
//! sealed. It gets bytes and perhaps a name, never a descriptor, and answers in numbers. Another
//! engine (libclamav, lists of hashes) is one more implementation of [`Engine`].

pub mod compile;
pub mod describe;
pub mod eicar;
pub mod places;
pub mod yara;

use places::Places;

/// What an engine says about the bytes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// No rule matches.
    Clean,
    /// Numbers of the rules that match, ascending, at least one and at most
    /// [`RULES_PER_FILE_MAX`](fdbroker_common::limits::RULES_PER_FILE_MAX).
    Match(Vec<u32>),
    /// The engine came to no verdict.
    Failed,
}

/// An engine with its rules.
pub trait Engine {
    /// Judges the whole contents of a file.
    fn scan(&mut self, data: &[u8], name: Option<&[u8]>) -> Verdict;

    /// The same verdict, and where patterns matched. An engine that cannot tell says none.
    fn examine(&mut self, data: &[u8], name: Option<&[u8]>) -> (Verdict, Places) {
        (self.scan(data, name), Places::default())
    }
}
