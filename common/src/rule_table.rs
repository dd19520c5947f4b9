//! Table of rule names: what turns the rule numbers of a worker's answer into names.
//!
//! A template writes it once into a sealed memfd; openers read it. It never passes a worker, and its
//! names are nothing but identifiers, so that no text of a scanned file reaches a log through it.
//!
//! Format: `fdbrules`, number of rules and bytes of the names, each as `u32` little endian; then for each
//! rule in order its length as one byte and its name; then nothing, or an entry for each rule
//! ([`RuleEntries`]), which is not read unless somebody asks.

mod entries;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;

pub use entries::{RuleEntries, RuleEntry};

use crate::limits::{RULE_TABLE_BYTES_MAX, RULES_MAX};

/// Longest name of a rule.
pub const RULE_NAME_BYTES_MAX: usize = 128;

const MAGIC: &[u8; 8] = b"fdbrules";
const HEADER_BYTES: usize = MAGIC.len() + 8;

/// Why there is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleTableError {
    /// The descriptor is none of a memfd that nobody can change any more.
    #[error("not a sealed table")]
    NotSealed,
    /// The kernel refused.
    #[error("{}", std::io::Error::from(*.0))]
    System(Errno),
    /// The bytes are no table.
    #[error("malformed table of rules: {0}")]
    Malformed(&'static str),
    /// More than a table may hold.
    #[error("table of rules: {0} is out of bounds")]
    Bound(&'static str),
    /// Empty, longer than [`RULE_NAME_BYTES_MAX`], or not of letters, digits and `_`.
    #[error("name of rule {0} is no identifier of at most {RULE_NAME_BYTES_MAX} characters")]
    Name(usize),
}

/// Names of rules by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTable {
    text: String,
    ends: Vec<usize>,
}

impl RuleTable {
    /// Writes names in the order of their numbers.
    ///
    /// # Errors
    /// [`RuleTableError::Name`] or [`RuleTableError::Bound`].
    pub fn encode<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, RuleTableError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        let mut count = 0_usize;
        for name in names {
            let length = match u8::try_from(name.len()) {
                Ok(length) if is_identifier(name.as_bytes()) => length,
                _ => return Err(RuleTableError::Name(count)),
            };
            bytes.push(length);
            bytes.extend_from_slice(name.as_bytes());
            count += 1;
        }
        if count > RULES_MAX {
            return Err(RuleTableError::Bound("number of rules"));
        }
        if !u64::try_from(bytes.len()).is_ok_and(|length| length <= RULE_TABLE_BYTES_MAX) {
            return Err(RuleTableError::Bound("size"));
        }
        let count = u32::try_from(count).map_err(|_| RuleTableError::Bound("number of rules"))?;
        let names =
            u32::try_from(bytes.len() - HEADER_BYTES).map_err(|_| RuleTableError::Bound("size"))?;
        if let Some(place) = bytes.get_mut(MAGIC.len()..HEADER_BYTES) {
            place.copy_from_slice(&[count.to_le_bytes(), names.to_le_bytes()].concat());
        }
        Ok(bytes)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Any deviation from the format is an error; nothing is skipped or guessed.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleTableError> {
        let (header, rest) =
            bytes.split_at_checked(HEADER_BYTES).ok_or(RuleTableError::Malformed("no header"))?;
        let (count, length) = header_of(header)?;
        let (names, entries) =
            rest.split_at_checked(length).ok_or(RuleTableError::Malformed("too short"))?;
        let table = Self::names(count, names)?;
        if !entries.is_empty() {
            RuleEntries::decode(entries.to_vec(), count)?;
        }
        Ok(table)
    }

    fn names(count: usize, mut rest: &[u8]) -> Result<Self, RuleTableError> {
        // Each name takes at least two bytes, so a small table cannot ask for much memory.
        if count > RULES_MAX || count > rest.len() / 2 {
            return Err(RuleTableError::Bound("number of rules"));
        }
        let mut text = String::with_capacity(rest.len() - count);
        let mut ends = Vec::with_capacity(count);
        for number in 0..count {
            let (length, after) =
                rest.split_first().ok_or(RuleTableError::Malformed("too short"))?;
            let (name, after) = after
                .split_at_checked(usize::from(*length))
                .ok_or(RuleTableError::Malformed("too short"))?;
            if !is_identifier(name) {
                return Err(RuleTableError::Name(number));
            }
            text.extend(name.iter().map(|byte| char::from(*byte)));
            ends.push(text.len());
            rest = after;
        }
        if rest.is_empty() {
            Ok(Self { text, ends })
        } else {
            Err(RuleTableError::Malformed("bytes after the end"))
        }
    }

    /// Reads the names of the table that stands in a sealed memfd.
    ///
    /// # Errors
    /// [`RuleTableError::NotSealed`] when it could still change, else as [`Self::decode`].
    pub fn read(table: impl AsFd) -> Result<Self, RuleTableError> {
        let table = table.as_fd();
        let (count, length, _) = Self::layout(table)?;
        Self::names(count, &read_at(table, HEADER_BYTES, length)?)
    }

    /// Reads what the rules say of themselves; none if the table does not say.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_entries(table: impl AsFd) -> Result<Option<RuleEntries>, RuleTableError> {
        let table = table.as_fd();
        let (count, length, size) = Self::layout(table)?;
        let start = HEADER_BYTES.saturating_add(length);
        match size.saturating_sub(start) {
            0 => Ok(None),
            entries => RuleEntries::decode(read_at(table, start, entries)?, count).map(Some),
        }
    }

    /// Number of rules, bytes of their names, and bytes in all.
    fn layout(table: BorrowedFd<'_>) -> Result<(usize, usize, usize), RuleTableError> {
        let size = Self::sealed_size(table)?;
        if size < HEADER_BYTES {
            return Err(RuleTableError::Malformed("no header"));
        }
        let (count, length) = header_of(&read_at(table, 0, HEADER_BYTES)?)?;
        if length > size - HEADER_BYTES {
            return Err(RuleTableError::Malformed("too short"));
        }
        Ok((count, length, size))
    }

    /// Size of a table that nobody can change any more; what it says is not looked at.
    ///
    /// # Errors
    /// [`RuleTableError::NotSealed`] or [`RuleTableError::Bound`].
    pub fn sealed_size(table: impl AsFd) -> Result<usize, RuleTableError> {
        let table = table.as_fd();
        let seals = fcntl_get_seals(table).map_err(|_| RuleTableError::NotSealed)?;
        if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW) {
            return Err(RuleTableError::NotSealed);
        }
        let size = fstat(table).map_err(RuleTableError::System)?.st_size;
        match u64::try_from(size) {
            Ok(size) if size <= RULE_TABLE_BYTES_MAX => Ok(usize::try_from(size).unwrap_or(0)),
            _ => Err(RuleTableError::Bound("size")),
        }
    }

    /// The name of a rule; none beyond the last one.
    #[must_use]
    pub fn name(&self, rule: u32) -> Option<&str> {
        let rule = usize::try_from(rule).ok()?;
        let end = *self.ends.get(rule)?;
        let start = match rule.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Number of rules, and bytes of their names.
fn header_of(header: &[u8]) -> Result<(usize, usize), RuleTableError> {
    let rest = header.strip_prefix(MAGIC).ok_or(RuleTableError::Malformed("no header"))?;
    let number =
        |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
    match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(count), Some(length)) if rest.len() == 8 => Ok((number(count), number(length))),
        _ => Err(RuleTableError::Malformed("no header")),
    }
}

/// So many bytes from this place on.
fn read_at(table: BorrowedFd<'_>, start: usize, length: usize) -> Result<Vec<u8>, RuleTableError> {
    let mut bytes = vec![0; length];
    let mut filled = 0_usize;
    while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
        let offset = u64::try_from(start.saturating_add(filled)).unwrap_or(u64::MAX);
        match rustix::io::pread(table, space, offset) {
            Ok(0) => return Err(RuleTableError::Malformed("too short")),
            Ok(more) => filled = filled.saturating_add(more),
            Err(Errno::INTR) => {}
            Err(error) => return Err(RuleTableError::System(error)),
        }
    }
    Ok(bytes)
}

/// Whether this may be the name of a rule, a tag or a key of metadata: letters, digits and `_`, at most
/// [`RULE_NAME_BYTES_MAX`].
#[must_use]
pub fn is_identifier(name: &[u8]) -> bool {
    (1..=RULE_NAME_BYTES_MAX).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether this may be the name of a pattern: `$` alone, or before an identifier.
#[must_use]
pub fn is_pattern_name(name: &str) -> bool {
    name.strip_prefix('$').is_some_and(|name| name.is_empty() || is_identifier(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    use super::*;

    #[test]
    fn a_name_that_is_no_identifier_is_not_written() {
        for bad in ["", "a b", "a\n", "\u{e4}", &"x".repeat(129)] {
            assert_eq!(RuleTable::encode(["fine", bad]), Err(RuleTableError::Name(1)));
        }
    }

    #[test]
    fn each_deviation_is_refused() {
        let good = RuleTable::encode(["one", "two"]).unwrap();
        for length in 0..good.len() {
            assert!(RuleTable::decode(&good[..length]).is_err(), "cut at {length}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(RuleTable::decode(&longer).is_err());
        let mut control = good.clone();
        *control.last_mut().unwrap() = b'\n';
        assert_eq!(RuleTable::decode(&control), Err(RuleTableError::Name(1)));
        let mut many = good.clone();
        many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(RuleTable::decode(&many), Err(RuleTableError::Bound("number of rules")));
        for length in [0, 7, 9, u32::MAX] {
            let mut other = good.clone();
            other[12..16].copy_from_slice(&u32::to_le_bytes(length));
            assert!(RuleTable::decode(&other).is_err(), "{length} bytes of names");
        }
    }

    #[test]
    fn only_a_sealed_memfd_is_read() {
        let memfd = memfd_create("table", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::write(&memfd, &RuleTable::encode(["one"]).unwrap()).unwrap();
        assert_eq!(RuleTable::read(&memfd), Err(RuleTableError::NotSealed));
        fcntl_add_seals(
            &memfd,
            SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
        )
        .unwrap();
        assert_eq!(RuleTable::read(&memfd).unwrap().name(0), Some("one"));
        assert_eq!(RuleTable::read_entries(&memfd), Ok(None));
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(RuleTable::read(&file), Err(RuleTableError::NotSealed));
    }

    proptest! {
        #[test]
        fn names_come_back_in_order(names in prop::collection::vec("[A-Za-z0-9_]{1,128}", 0..20)) {
            let bytes = RuleTable::encode(names.iter().map(String::as_str)).unwrap();
            let table = RuleTable::decode(&bytes).unwrap();
            prop_assert_eq!(table.len(), names.len());
            for (number, name) in (0_u32..).zip(&names) {
                prop_assert_eq!(table.name(number), Some(name.as_str()));
            }
            prop_assert_eq!(table.name(u32::MAX), None);
        }

        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            let _ = RuleTable::decode(&bytes);
        }
    }
}
