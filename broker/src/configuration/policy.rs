//! The tables of the configuration to the policy that the broker decides by.
//!
//! Runs in the configuration reader. Looks at the user database and at the trees of grants, which the
//! broker never does: it gets numbers and paths that were checked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::document::{Document, Findings, Table};
use super::problem::Place;
use super::source::shown;
use super::users::Users;
use super::value::At;
use crate::root::policy::{Limits, Policy, Subjects, TreeGrant};

/// A policy, and where each of its parts was written.
#[derive(Debug, Default)]
pub struct Written {
    /// The policy.
    pub policy: Policy,
    /// Each `[[deny]]`, in the order of the files.
    pub denials: Vec<(Place, Subjects)>,
    /// Of each of its limits.
    pub limits: Vec<Place>,
    /// Of each of its grants.
    pub grants: Vec<Place>,
}

/// Makes the policy; what is wrong with it goes to `findings`.
#[must_use]
pub fn of(document: &Document, findings: &mut Findings) -> Written {
    let mut users = Users::default();
    let mut written = Written::default();
    for (table, place) in with_place(document.repeated("deny")) {
        let denied = users.subjects("[[deny]]", table, findings);
        if denied.uids.contains(&0) {
            let text = "root cannot be denied: it can read everything anyway; take it out";
            findings.problems.push(place.problem(text));
        }
        written.policy.denied.uids.extend(&denied.uids);
        written.policy.denied.gids.extend(&denied.gids);
        written.denials.push((place.clone(), denied));
    }
    for (table, place) in with_place(document.repeated("limit")) {
        let subjects = users.subjects("[[limit]]", table, findings);
        written.policy.limits.push((subjects, limits(table, place, findings)));
        written.limits.push(place.clone());
    }
    for (table, place) in with_place(document.repeated("grant")) {
        let subjects = users.subjects("[[grant]]", table, findings);
        written.policy.grants.push(grant(table, place, subjects, findings));
        written.grants.push(place.clone());
    }
    written
}

fn with_place(tables: &[Table]) -> impl Iterator<Item = (&Table, &Place)> {
    tables.iter().filter_map(|table| Some((table, table.place.as_ref()?)))
}

fn limits(table: &Table, place: &Place, findings: &mut Findings) -> Limits {
    // Both are within 32 bits by their kinds.
    let number = |key| table.number(key).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let limits = Limits {
        connections: number("connections"),
        files_in_flight: number("files_in_flight"),
        scan_bytes: table.number("scan_bytes").unwrap_or(0),
        file_bytes_max: table.number("file_bytes_max").unwrap_or(0),
        file_deadline_s: number("file_deadline_s"),
    };
    if limits == Limits::default() {
        let text = "this [[limit]] limits nothing; it exempts these users from those that follow";
        findings.notes.push(place.problem(text));
    }
    limits
}

fn grant(table: &Table, place: &Place, subjects: Subjects, findings: &mut Findings) -> TreeGrant {
    let (trees, except) = (table.list("trees"), table.list("except"));
    if table.lacks(&["trees"]) {
        let text = "this [[grant]] grants nothing; add `trees`";
        findings.problems.push(place.problem(text));
    }
    trees.iter().for_each(|tree| check_tree(tree, findings));
    for hidden in except {
        let path = Path::new(&hidden.value);
        let is_beneath =
            |tree: &At<String>| path != Path::new(&tree.value) && path.starts_with(&tree.value);
        if !trees.iter().any(is_beneath) {
            let text = format!("`{}` in `except` is beneath none of the trees", hidden.value);
            findings.problems.push(hidden.place.problem(text));
            continue;
        }
        check_except(hidden, findings);
    }
    let paths = |list: &[At<String>]| list.iter().map(|path| path.value.clone().into()).collect();
    TreeGrant {
        subjects,
        trees: paths(trees),
        except: paths(except),
        hard_links: table.flag("hard_links").unwrap_or(false),
    }
}

fn check_tree(At { value: tree, place }: &At<String>, findings: &mut Findings) {
    let problem = match fs::canonicalize(tree) {
        Ok(real) if real != Path::new(tree) => {
            format!("tree `{tree}` leads through a link; write `{}`", shown(&real))
        }
        Ok(real) if !real.is_dir() => {
            format!("tree `{tree}` is not a directory; name the one that holds it")
        }
        Ok(_) => return,
        Err(error) => format!("tree `{tree}`: {error}; make it first, or take it out"),
    };
    findings.problems.push(place.problem(problem));
}

/// One that is not there yet is no mistake; one behind a link would hide nothing.
fn check_except(At { value: path, place }: &At<String>, findings: &mut Findings) {
    let mut above = Path::new(path).ancestors();
    let there = above.find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    if let Some((above, real)) = there.filter(|(above, real)| above != real) {
        let rest = Path::new(path).strip_prefix(above).unwrap_or(Path::new(""));
        let real = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        let text = format!(
            "`{path}` in `except` leads through a link and would hide nothing; write `{}`",
            shown(&real)
        );
        findings.problems.push(place.problem(text));
    } else if is_same(path, &path.chars().map(other_case).collect::<String>()) {
        let text = format!(
            "`{path}` in `except` is on a file system that ignores case, where names in other letters lead around it; grant what may be scanned in place of excepting what may not"
        );
        findings.problems.push(place.problem(text));
    } else if fs::symlink_metadata(path).is_err() {
        let text = format!("`{path}` in `except` is not there");
        findings.notes.push(place.problem(text));
    }
}

fn other_case(letter: char) -> char {
    if letter.is_ascii_lowercase() {
        letter.to_ascii_uppercase()
    } else {
        letter.to_ascii_lowercase()
    }
}

/// Whether the last names of two paths lead to the same object, by the same directory.
fn is_same(path: &str, other: &str) -> bool {
    let (path, other) = (Path::new(path), Path::new(other));
    let (Some(directory), Some(name)) = (path.parent(), other.file_name()) else {
        return false;
    };
    let other = directory.join(name);
    let id = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    other != path && id(path).is_some() && id(path) == id(&other)
}
