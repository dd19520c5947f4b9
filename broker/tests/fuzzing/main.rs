//! Replays the seeds of the fuzz targets, as they are and damaged, through the functions that are fuzzed.
//!
//! `make fuzz` looks for new inputs; this makes sure that a decoder which once withstood an input still
//! does. `FDBROKER_WRITE_SEEDS=1` writes `fuzz/seeds` anew after a change of a format.
#![allow(missing_docs)]

#[path = "../../../fuzz/src/entry/mod.rs"]
mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use entry::TARGETS;
use entry::seeds::seeds;
use proptest::prelude::*;

/// An input that a fuzzer found, and that no encoder makes, is kept beside the seeds under such a name.
const FOUND: &str = "found-";

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn entry_of(target: &str) -> entry::Entry {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found.unwrap_or_else(|| panic!("no target {target}")).1
}

/// Target and contents of every file in `fuzz/seeds`, by its path there.
fn files() -> BTreeMap<String, (String, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for target in fs::read_dir(fuzz().join("seeds")).unwrap() {
        let target = target.unwrap();
        let name = target.file_name().into_string().unwrap();
        for file in fs::read_dir(target.path()).unwrap() {
            let file = file.unwrap();
            let path = format!("{name}/{}", file.file_name().to_str().unwrap());
            files.insert(path, (name.clone(), fs::read(file.path()).unwrap()));
        }
    }
    files
}

#[test]
fn seeds_in_the_tree_are_what_the_encoders_make() {
    let made: BTreeMap<String, Vec<u8>> = seeds()
        .into_iter()
        .map(|(target, name, bytes)| (format!("{target}/{name}"), bytes))
        .collect();
    if std::env::var_os("FDBROKER_WRITE_SEEDS").is_some() {
        for (path, bytes) in &made {
            let path = fuzz().join("seeds").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let mut files = files();
    files.retain(|path, _| !path.rsplit('/').next().unwrap().starts_with(FOUND));
    let files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|(path, (_, bytes))| (path, bytes)).collect();
    assert_eq!(files, made, "after a change of a format: FDBROKER_WRITE_SEEDS=1");
}

#[test]
fn every_target_is_built_and_has_seeds() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let names = manifest.lines().filter_map(|line| line.strip_prefix("name = \""));
    let names = names.map(|name| name.trim_end_matches('"'));
    let built: BTreeSet<&str> = names.filter(|name| *name != "fdbroker-fuzz").collect();
    let targets: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, targets);
    for target in targets {
        let source = fuzz().join("fuzz_targets").join(target).with_extension("rs");
        let source = fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("entry::{target}(data)")), "{source}");
        let files = files();
        assert!(files.values().any(|(of, _)| of == target), "{target} has no seed");
    }
}

#[test]
fn every_seed_keeps_its_promise() {
    for (path, (target, bytes)) in files() {
        println!("{path}");
        entry_of(&target)(&bytes);
    }
}

/// A damage that fuzzers do, too.
#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let index = any::<prop::sample::Index>;
        // Borders of numbers, and of their encoding, more often than others.
        let byte = || prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 127, 128, 255])];
        prop_oneof![
            (index(), byte()).prop_map(|(at, byte)| Self::Set(at, byte)),
            (index(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            index().prop_map(Self::Cut),
            index().prop_map(Self::Remove),
            (index(), prop::collection::vec(byte(), 1..12))
                .prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (index(), index()).prop_map(|(from, to)| Self::Repeat(from, to)),
        ]
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = byte,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more);
            }
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = bytes[from.min(to)..=from.max(to)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_a_seed_breaks_a_promise(
        seed in prop::sample::select(seeds()),
        damages in prop::collection::vec(Damage::any(), 1..5),
    ) {
        let (target, _, mut bytes) = seed;
        for damage in damages {
            damage.apply(&mut bytes);
        }
        entry_of(target)(&bytes);
    }

    #[test]
    fn no_bytes_break_a_promise(
        target in prop::sample::select(TARGETS.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        target.1(&bytes);
    }
}
