//! Writes the table of rule names into a sealed memfd.
//!
//! Runs in a template before it is sealed; workers never hold the table.

use std::io;
use std::os::fd::OwnedFd;

use fdbroker_common::rule_table::{RuleTable, RuleTableError};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The rules do not fit into a table.
    #[error(transparent)]
    Table(#[from] RuleTableError),
    /// The kernel refused.
    #[error("table of rules: {0}")]
    System(io::Error),
}

impl From<Errno> for NamesError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// A table that nobody can change, this process included.
///
/// # Errors
/// See [`NamesError`].
pub fn sealed_table<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<OwnedFd, NamesError> {
    let bytes = RuleTable::encode(names)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let table = match memfd_create("fdbroker-rules", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create("fdbroker-rules", flags)?,
        result => result?,
    };
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&table, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&table, seals)?;
    Ok(table)
}
