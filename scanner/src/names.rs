//! Writes the table of rules into a sealed memfd.
//!
//! Runs in a template before it is sealed; workers never hold the table.

use std::io;
use std::os::fd::OwnedFd;

use fdbroker_common::limits::RULE_TABLE_BYTES_MAX;
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

/// A table that nobody can change, this process included: names, then what the rules say of themselves.
/// The latter is left out where there is no room.
///
/// # Errors
/// See [`NamesError`].
pub fn sealed_table<'a>(
    names: impl IntoIterator<Item = &'a str>,
    describe: impl FnOnce(usize) -> Vec<u8>,
) -> Result<OwnedFd, NamesError> {
    let mut bytes = RuleTable::encode(names)?;
    let room = usize::try_from(RULE_TABLE_BYTES_MAX).unwrap_or(0).saturating_sub(bytes.len());
    bytes.extend(describe(room));
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
