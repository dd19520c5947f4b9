//! docs/privileges.md against the code: the lists of system calls.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/privileges.md");
const FENCE: &str = include_str!("../../broker/src/root/fence.rs");
const CONFINE: &str = include_str!("../../broker/src/confine.rs");
const SECCOMP: &str = include_str!("../../scanner/src/seal/seccomp.rs");

type Calls = BTreeSet<String>;

/// The part of a source from `begin` to the next `end`.
fn part<'a>(source: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = source.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}"));
    let (part, _) = rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {begin:?}"));
    part
}

fn calls(text: &str) -> Calls {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter_map(|word| word.strip_prefix("SYS_")).map(str::to_owned).collect()
}

fn list(source: &str, name: &str) -> Calls {
    calls(part(source, &format!("const {name}: &[i64] ="), "];"))
}

fn function(source: &str, name: &str) -> Calls {
    calls(part(source, &format!("fn {name}("), "\n}\n"))
}

/// What the page lists for a role.
fn page(role: &str) -> Calls {
    let block = part(PAGE, &format!("```calls {role}\n"), "```");
    block.split_whitespace().map(str::to_owned).collect()
}

fn union(parts: &[Calls]) -> Calls {
    parts.iter().flatten().cloned().collect()
}

#[test]
fn the_lists_on_the_page_are_those_of_the_code() {
    let broker = union(&[list(FENCE, "CALLS"), list(FENCE, "OLDER"), function(FENCE, "confine")]);
    assert_eq!(page("broker"), broker, "broker");

    let base = [list(CONFINE, "BASE"), list(CONFINE, "POLL"), function(CONFINE, "allow")];
    let base = union(&base);
    assert_eq!(page("opener"), union(&[base.clone(), list(CONFINE, "OPENER")]), "opener");
    assert_eq!(page("dispatcher"), union(&[base, list(CONFINE, "DISPATCHER")]), "dispatcher");
    let memory = [list(CONFINE, "POLL"), function(CONFINE, "allow")];
    let own = [list(CONFINE, "AUDITOR"), function(CONFINE, "auditor")];
    assert_eq!(page("auditor"), union(&[memory, own].concat()), "auditor");

    let common = union(&[list(SECCOMP, "COMMON"), function(SECCOMP, "common")]);
    let template =
        union(&[common.clone(), list(SECCOMP, "TEMPLATE"), function(SECCOMP, "template")]);
    assert_eq!(page("template"), template, "template");
    assert_eq!(page("worker"), union(&[common, function(SECCOMP, "worker")]), "worker");
}
