//! Exclude patterns: which entries of a walk are not even looked up.
//!
//! Runs in the opener with the caller's identity, on nothing but bytes: no system call is made here.
//! A pattern without `/` is compared with the last component of each path, at any depth. One with `/`
//! is compared with the whole path as the caller wrote it, so `/srv/*/cache` names children of `/srv`
//! and `**/src/*.o` names files at any depth. A trailing `/` is ignored, `*` and `?` never match `/`,
//! `?` is one byte. An excluded directory takes all its contents with it.

use std::fmt;

use fast_glob::{glob_match, validate};
use fdbroker_common::client_link::ByteString;
use fdbroker_common::outcome::{Outcome, SkipReason};

/// The matcher tries all combinations of alternatives in braces, one after the other.
const EXPANSIONS_MAX: u64 = 1024;

/// The exclude patterns of one scan.
#[derive(Debug, Default)]
pub struct Excludes {
    names: Vec<Vec<u8>>,
    paths: Vec<Vec<u8>>,
}

/// A pattern that is none: by its place in the list of patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPattern {
    /// Counted from 0.
    pub index: usize,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "exclude pattern {} is malformed", self.index)
    }
}

impl std::error::Error for BadPattern {}

impl Excludes {
    /// Checks and sorts the patterns.
    ///
    /// # Errors
    /// [`BadPattern`] for an empty one, an open bracket or brace, a trailing backslash, too many
    /// alternatives in braces, and for one that begins with `!`: the matcher would turn it round
    /// and exclude everything else.
    pub fn new(patterns: &[ByteString]) -> Result<Self, BadPattern> {
        let mut excludes = Self::default();
        for (index, pattern) in patterns.iter().enumerate() {
            let mut bytes: &[u8] = pattern;
            while let [rest @ .., b'/'] = bytes
                && !rest.is_empty()
            {
                bytes = rest;
            }
            if bytes.is_empty()
                || bytes.starts_with(b"!")
                || validate(bytes).is_err()
                || expansions(bytes) > EXPANSIONS_MAX
            {
                return Err(BadPattern { index });
            }
            if bytes.contains(&b'/') {
                excludes.paths.push(bytes.to_vec());
            } else {
                excludes.names.push(bytes.to_vec());
            }
        }
        Ok(excludes)
    }

    /// What becomes of the entry with this path, if a pattern names it.
    pub fn exclusion(&self, path: &[u8]) -> Option<Outcome> {
        if self.names.is_empty() && self.paths.is_empty() {
            return None;
        }
        let name = last_component(path);
        let named = self.names.iter().any(|pattern| glob_match(pattern, name))
            || self.paths.iter().any(|pattern| glob_match(pattern, path));
        named.then_some(Outcome::Skipped(SkipReason::Excluded))
    }
}

/// At most so many combinations: for a given number of groups and commas there are most when each
/// group has as many. Those that are escaped count too.
fn expansions(pattern: &[u8]) -> u64 {
    let count = |byte| pattern.iter().filter(|other| **other == byte).count();
    let (groups, commas) = (count(b'{').max(1), count(b','));
    // In integers: nothing else here needs the library of mathematics, which each start would load.
    let each = u64::try_from(commas.checked_div(groups).unwrap_or(0)).unwrap_or(u64::MAX);
    let more = commas.checked_rem(groups).unwrap_or(0);
    let power = |base: u64, of: usize| base.saturating_pow(u32::try_from(of).unwrap_or(u32::MAX));
    power(each.saturating_add(2), more)
        .saturating_mul(power(each.saturating_add(1), groups.saturating_sub(more)))
}

fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').find(|component| !component.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::{BadPattern, Excludes};
    use fdbroker_common::client_link::ByteString;

    fn excludes(patterns: &[&str]) -> Result<Excludes, BadPattern> {
        let patterns: Vec<ByteString> =
            patterns.iter().map(|pattern| ByteString::from(pattern.as_bytes())).collect();
        Excludes::new(&patterns)
    }

    fn excluded(pattern: &str, path: &[u8]) -> bool {
        excludes(&[pattern]).unwrap().exclusion(path).is_some()
    }

    #[test]
    fn a_pattern_without_slash_names_the_last_component_at_any_depth() {
        assert!(excluded("*.o", b"a/b/c.o"));
        assert!(excluded(".git", b".git"));
        assert!(excluded("*.{jpg,png}", b"photos/x.png"));
        assert!(excluded("b", b"a/b/"));
        assert!(!excluded("b", b"a/b/c"));
        assert!(!excluded("*.o", b"a.o/c"));
    }

    #[test]
    fn a_pattern_with_slash_names_the_whole_path() {
        assert!(excluded("/srv/*/cache", b"/srv/x/cache"));
        assert!(!excluded("/srv/*/cache", b"/srv/x/y/cache"));
        assert!(excluded("**/src/*.o", b"home/src/a.o"));
        assert!(excluded("/proc", b"/proc"));
        assert!(excluded("/", b"/"));
        assert!(!excluded("src/*.o", b"home/src/a.o"));
    }

    #[test]
    fn a_trailing_slash_changes_nothing() {
        assert!(excluded("target//", b"a/target"));
        assert!(excluded("**/a/b/", b"x/a/b"));
    }

    #[test]
    fn names_need_not_be_text() {
        assert!(excluded("*.bin", b"a/\xff\xfe\n.bin"));
        assert!(excluded("a?b", b"a\xffb"));
    }

    #[test]
    fn malformed_patterns_are_refused_by_number() {
        for pattern in ["", "a[b", "a{b,c", "a\\", "!keep", "//"] {
            let result = excludes(&["*.ok", pattern]);
            if pattern == "//" {
                assert!(result.is_ok(), "the root directory");
            } else {
                assert_eq!(result.err(), Some(BadPattern { index: 1 }), "{pattern:?}");
            }
        }
    }

    #[test]
    fn alternatives_are_limited_before_they_multiply() {
        assert!(excludes(&["*.{a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p}"]).is_ok());
        assert!(excludes(&[&"{a,b}".repeat(10)]).is_ok());
        assert!(excludes(&[&"{a,b,c}".repeat(10)]).is_err());
        assert!(excludes(&[&"{a[}],b,c,d,e}".repeat(10)]).is_err());
        assert!(excludes(&["a,b,c,d"]).is_ok());
    }

    #[test]
    fn no_pattern_excludes_nothing() {
        assert!(excludes(&[]).unwrap().exclusion(b"").is_none());
    }
}
