//! Decoders of what is not a message: the configuration files, tables of rule names, exclude patterns, and
//! names on their way to a terminal.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fdbroker_broker::configuration::args::Args;
use fdbroker_broker::configuration::problem::Problem;
use fdbroker_broker::configuration::settle::{Settled, settle};
use fdbroker_broker::configuration::source::Source;
use fdbroker_broker::opener::exclude::Excludes;
use fdbroker_broker::root::policy::{Policy, Subjects};
use fdbroker_broker::root::settings::Settings;
use fdbroker_common::client_link::ByteString;
use fdbroker_common::escape::Escaped;
use fdbroker_common::limits::{
    EXCLUDE_BYTES_MAX, EXCLUDES_MAX, PATH_BYTES_MAX, RULES_MAX, WORKERS_MAX,
};
use fdbroker_common::rule_table::{RuleEntry, RuleTable, RuleTableError};
use fdbroker_common::wire::{decode, encode};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

fn memory(name: &str) -> File {
    memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memfd").into()
}

/// The configuration files of a broker, up to three, separated by a form feed; first as root's broker
/// would read them, then as that of an ordinary user.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let source =
        |text: &str| Source::new(Path::new("/etc/fdbroker/fdbroker.toml"), text.to_owned());
    let sources: Vec<Source> = text.splitn(3, '\x0c').map(source).collect();
    let args = Args {
        config: None,
        runtime_dir: Some("/run/fdbroker".into()),
        rules: None,
        watch_rules: false,
        scanner_user: None,
        spawn_scanner: false,
        workers: None,
        check_config: false,
        explain: Vec::new(),
        verbose: 0,
        private_on_stdin: false,
    };
    for uid in [0, 2000] {
        let is_safe = |problem: &Problem| !problem.to_string().chars().any(char::is_control);
        match settle(&args, uid, &sources) {
            Ok(Settled { settings, written, warnings, .. }) => {
                assert!(warnings.iter().all(is_safe), "{warnings:?}");
                assert!(settings.plan.workers <= WORKERS_MAX);
                assert!(settings.plan.uid != Some(0));
                assert!(settings.plan.scanner_uid != 0);
                let policy = &settings.policy;
                assert!(!policy.denied.uids.contains(&0));
                assert_eq!(policy.grants.len(), written.grants.len());
                assert_eq!(policy.limits.len(), written.limits.len());
                let nobody =
                    |subjects: &Subjects| subjects.uids.is_empty() && subjects.gids.is_empty();
                assert!(policy.limits.iter().all(|(subjects, _)| !nobody(subjects)));
                for grant in &policy.grants {
                    assert!(!nobody(&grant.subjects) && !grant.trees.is_empty());
                    assert!(grant.trees.iter().all(|tree| Path::new(tree).is_dir()));
                    let beneath =
                        |path: &Path| grant.trees.iter().any(|tree| path.starts_with(tree));
                    assert!(grant.except.iter().all(|path| beneath(Path::new(path))));
                }
                // Another user's broker has none of it.
                assert!(uid == 0 || *policy == Policy::default());
                let rules = settings.rules.as_deref().map(Path::new);
                assert!(rules.is_none_or(Path::is_dir));
                let mut message = Vec::new();
                encode(&settings, &mut message).expect("it fits");
                assert_eq!(decode::<Settings>(&message).as_ref(), Ok(&settings));
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.iter().all(is_safe), "{problems:?}");
            }
        }
    }
}

/// A table of rule names. The first byte says how it is sealed.
pub fn rule_table(data: &[u8]) {
    let Some((seals, bytes)) = data.split_first() else {
        return;
    };
    let wanted = [SealFlags::WRITE, SealFlags::SHRINK, SealFlags::GROW];
    let given = wanted.iter().enumerate().filter(|(bit, _)| seals & (1 << bit) == 0);
    let given: SealFlags = given.map(|(_, seal)| *seal).collect();
    let file = memory("table");
    file.write_all_at(bytes, 0).expect("write");
    fcntl_add_seals(&file, given).expect("seal");
    let read = RuleTable::read(&file);
    if given != SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW {
        assert_eq!(read, Err(RuleTableError::NotSealed));
        return;
    }
    if let Ok(table) = RuleTable::decode(bytes) {
        assert_eq!(read, Ok(table));
    }
    let Ok(table) = read else {
        return;
    };
    assert_entries(&file, table.len());
    assert!(table.len() <= RULES_MAX);
    let count = u32::try_from(table.len()).expect("a bounded number");
    let names: Vec<&str> = (0..count).map(|rule| table.name(rule).expect("a name")).collect();
    assert_eq!(table.name(count), None);
    for name in &names {
        assert!((1..=128).contains(&name.len()));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let names = RuleTable::encode(names).expect("names of a table");
    assert_eq!(bytes.get(..names.len()), Some(names.as_slice()));
}

/// What the rules of a table say of themselves is bounded, or nothing.
fn assert_entries(file: &File, rules: usize) {
    let Ok(Some(entries)) = RuleTable::read_entries(file) else {
        return;
    };
    for rule in 0..u32::try_from(rules).expect("a bounded number") {
        let Some(RuleEntry { facts, patterns }) = entries.entry(rule) else {
            continue;
        };
        assert!(patterns.len() <= 1024 && facts.tags.len() <= 64 && facts.metadata.len() <= 64);
        assert!(patterns.iter().all(|name| name.starts_with('$') && name.len() <= 129));
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let keys = facts.metadata.iter().map(|(key, _)| key);
        assert!(facts.tags.iter().chain(keys).all(|name| name.bytes().all(word)));
    }
}

/// Exclude patterns, one a line, and a path in the last line.
pub fn excludes(data: &[u8]) {
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let path = lines.pop().unwrap_or_default();
    let path = path.get(..PATH_BYTES_MAX).unwrap_or(path);
    lines.truncate(EXCLUDES_MAX);
    let cut = |line: &&[u8]| line.get(..EXCLUDE_BYTES_MAX).unwrap_or(line).to_vec().into();
    let patterns: Vec<ByteString> = lines.iter().map(cut).collect();
    match Excludes::new(&patterns) {
        Ok(excludes) => {
            let excluded = excludes.exclusion(path).is_some();
            assert!(!(patterns.is_empty() && excluded));
            assert!(
                patterns.iter().all(|pattern| !pattern.is_empty() && !pattern.starts_with(b"!"))
            );
        }
        Err(bad) => {
            let pattern = patterns.get(bad.index).expect("the number of a pattern");
            assert!(Excludes::new(std::slice::from_ref(pattern)).is_err());
        }
    }
    // What has no special bytes stands for itself.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    for pattern in patterns.iter().filter(|pattern| pattern.iter().all(plain)) {
        let Ok(excludes) = Excludes::new(std::slice::from_ref(pattern)) else {
            assert!(pattern.is_empty());
            continue;
        };
        let below = [b"some/where/", pattern.as_slice()].concat();
        assert!(excludes.exclusion(&below).is_some());
        assert!(excludes.exclusion(&[&below, b"x".as_slice()].concat()).is_none());
        assert!(
            excludes.exclusion(&[&below, b"/y-y".as_slice()].concat()).is_none()
                || **pattern == b"y-y"[..]
        );
    }
}

/// A name on its way to a terminal or a log.
pub fn escaping(data: &[u8]) {
    let text = Escaped(data).to_string();
    assert!(text.len() <= data.len() * 4);
    assert!(!text.chars().any(char::is_control), "{text:?}");
    // Marks that turn the writing direction round, or show nothing.
    let bad = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    assert!(!text.chars().any(bad), "{text:?}");
    assert_eq!(unescape(&text), data, "no two names look the same: {text:?}");
}

/// The inverse of [`Escaped`].
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match rest.next() {
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
            }
            Some('u') => {
                let digits: String =
                    rest.by_ref().take_while(|c| *c != '}').filter(|c| *c != '{').collect();
                let number = u32::from_str_radix(&digits, 16).expect("digits");
                let character = char::from_u32(number).expect("a character");
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => panic!("{other:?} behind a backslash"),
        }
    }
    bytes
}
