//! The name of a set of rules.
//!
//! A pure function of what the broker sent and of the built-in rule; runs in a template.

use fdbroker_common::generation::GenerationId;
use sha2::{Digest, Sha256};

use crate::engine::eicar;
use crate::sources::Source;

/// First half of SHA-256 over the number of files, then name and contents of each, then the built-in
/// rule; each preceded by its length as `u64` little endian.
#[must_use]
pub fn identify(sources: &[Source]) -> GenerationId {
    let mut hash = Sha256::new();
    hash.update(length(sources.len()));
    for part in sources
        .iter()
        .flat_map(|source| [source.name.as_slice(), source.text.as_slice()])
        .chain([eicar::rule().as_bytes()])
    {
        hash.update(length(part.len()));
        hash.update(part);
    }
    let mut id = [0; 16];
    for (byte, digest) in id.iter_mut().zip(hash.finalize()) {
        *byte = digest;
    }
    GenerationId(id)
}

fn length(bytes: usize) -> [u8; 8] {
    u64::try_from(bytes).unwrap_or(u64::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(files: &[(&str, &str)]) -> GenerationId {
        let sources: Vec<Source> = files
            .iter()
            .map(|(name, text)| Source {
                name: name.as_bytes().to_vec(),
                text: text.as_bytes().to_vec(),
            })
            .collect();
        identify(&sources)
    }

    #[test]
    fn names_contents_and_borders_count() {
        assert_eq!(id(&[("a", "b")]), id(&[("a", "b")]));
        let all = [
            id(&[]),
            id(&[("a", "b")]),
            id(&[("ab", "")]),
            id(&[("", "ab")]),
            id(&[("a", ""), ("b", "")]),
            id(&[("b", ""), ("a", "")]),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(!all[..number].contains(one), "{number}");
        }
    }
}
