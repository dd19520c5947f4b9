//! The text of all files to one document: sections, keys and values of known names and right types. Pure.
//!
//! All mistakes are found at once. Tables that may be repeated add up; of a key that is set twice the
//! later file wins, which is noted.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use super::schema::{SECTIONS, Section};
use super::source::Source;
use super::value::{self, At, Value};

/// Most tables of one name.
const TABLES_MAX: usize = 1024;

/// Most mistakes against the grammar that are shown of one file.
const SYNTAX_ERRORS_MAX: usize = 16;

/// How much of a name that is no key is shown.
const NAME_BYTES_MAX: usize = 64;

/// The values of one table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Where it begins; none for what may be spread over files.
    pub place: Option<Place>,
    values: BTreeMap<&'static str, At<Value>>,
    /// Keys whose values are wrong.
    broken: Vec<&'static str>,
}

/// All that was written.
#[derive(Debug)]
pub struct Document {
    single: BTreeMap<&'static str, Table>,
    repeated: BTreeMap<&'static str, Vec<Table>>,
}

/// What was found besides.
#[derive(Debug, Default)]
pub struct Findings {
    /// Mistakes; with any the configuration is not used.
    pub problems: Vec<Problem>,
    /// What the administrator should know.
    pub notes: Vec<Problem>,
}

/// Reads all files.
#[must_use]
pub fn read(sources: &[Source], findings: &mut Findings) -> Document {
    let empty = Table { place: None, values: BTreeMap::new(), broken: Vec::new() };
    let (repeated, single): (Vec<_>, Vec<_>) = SECTIONS
        .iter()
        .map(|section| (section.name, section.repeated))
        .partition(|(_, many)| *many);
    let mut document = Document {
        single: single.into_iter().map(|(name, _)| (name, empty.clone())).collect(),
        repeated: repeated.into_iter().map(|(name, _)| (name, Vec::new())).collect(),
    };
    for source in sources {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        // One of each line: others on it follow from the first.
        let mut lines = BTreeMap::new();
        for error in &errors {
            let place = Place::new(source, error.span().map_or(0, |span| span.start));
            lines.entry(place.number()).or_insert_with(|| place.problem(error.message()));
        }
        findings.problems.extend(lines.into_values().take(SYNTAX_ERRORS_MAX));
        // What follows from a mistake in the grammar is none of its own.
        if errors.is_empty() {
            Reader { source, document: &mut document, findings }.top(table.get_ref());
        }
    }
    document
}

struct Reader<'a> {
    source: &'a Source,
    document: &'a mut Document,
    findings: &'a mut Findings,
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

impl Reader<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        let Some(top) = SECTIONS.into_iter().find(|section| section.name.is_empty()) else {
            return;
        };
        for entry in in_order(table) {
            let (name, value) = entry;
            let section = SECTIONS.into_iter().find(|section| section.name == name.get_ref());
            match section.filter(|section| !section.name.is_empty()) {
                Some(section) => self.section(section, entry),
                None => {
                    if let Some((key, value)) = self.entry(top, name, value) {
                        self.set(top, key, value);
                    }
                }
            }
        }
    }

    fn section(&mut self, section: &'static Section, (name, value): Entry<'_, '_>) {
        let place = Place::new(self.source, name.span().start);
        match value.get_ref() {
            DeValue::Table(table) if !section.repeated => {
                for (name, value) in in_order(table) {
                    if let Some((key, value)) = self.entry(section, name, value) {
                        self.set(section, key, value);
                    }
                }
            }
            DeValue::Array(tables) if section.repeated => {
                for table in tables.iter() {
                    let place = Place::new(self.source, table.span().start);
                    match table.get_ref() {
                        DeValue::Table(entries) => self.repeated(section, place, entries),
                        _ => self.no_table(section, &place),
                    }
                }
            }
            _ => self.no_table(section, &place),
        }
    }

    fn no_table(&mut self, section: &Section, place: &Place) {
        let (name, head) = (section.name, section.head());
        let text =
            format!("`{name}` is a table; write {head} in a line of its own before its keys");
        self.findings.problems.push(place.problem(text));
    }

    fn repeated(&mut self, section: &'static Section, place: Place, entries: &DeTable<'_>) {
        let (mut values, mut broken) = (BTreeMap::new(), Vec::new());
        for (name, value) in in_order(entries) {
            match self.entry(section, name, value) {
                Some((key, value)) => drop(values.insert(key, value)),
                None => broken.extend(section.key(name.get_ref()).map(|key| key.name)),
            }
        }
        let tables = self.document.repeated.entry(section.name).or_default();
        if tables.len() == TABLES_MAX {
            let text = format!("more than {TABLES_MAX} {} tables; join some", section.head());
            self.findings.problems.push(place.problem(text));
        }
        if tables.len() <= TABLES_MAX {
            tables.push(Table { place: Some(place), values, broken });
        }
    }

    fn set(&mut self, section: &Section, key: &'static str, value: At<Value>) {
        let Some(table) = self.document.single.get_mut(section.name) else { return };
        let place = value.place.clone();
        if let Some(old) = table.values.insert(key, value) {
            let text = format!("`{key}` replaces what {} says", old.place.line());
            self.findings.notes.push(place.problem(text));
        }
    }

    fn entry(
        &mut self,
        section: &'static Section,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(&'static str, At<Value>)> {
        let place = Place::new(self.source, name.span().start);
        let Some(key) = section.key(name.get_ref()) else {
            self.findings.problems.push(place.problem(unknown(section, name.get_ref())));
            return None;
        };
        match value::read(key.kind, key.name, value, self.source) {
            Ok(value) => Some((key.name, At { value, place })),
            Err(problem) => {
                self.findings.problems.push(problem);
                None
            }
        }
    }
}

/// Entries in the order in which they are written; toml sorts them by name.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<Entry<'a, 'i>> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// What to say about a key that does not exist: where it belongs, or what it may have been meant for.
fn unknown(section: &Section, name: &str) -> String {
    let name = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    let here = match section.name {
        "" => String::new(),
        _ => format!(" in {}", section.head()),
    };
    let knows = |section: &&&Section| section.key(name).is_some();
    if let Some(other) = SECTIONS.iter().find(knows) {
        return match other.name {
            "" => format!("unknown key `{name}`{here}; it belongs before the first table"),
            _ => format!("unknown key `{name}`{here}; it belongs into {}", other.head()),
        };
    }
    let tables = SECTIONS.iter().filter(|_| section.name.is_empty()).map(|section| section.name);
    let here_known = section.keys.iter().map(|key| key.name);
    if let Some(near) = nearest(name, here_known.chain(tables.filter(|name| !name.is_empty()))) {
        return format!("unknown key `{name}`{here}; did you mean `{near}`?");
    }
    let elsewhere = SECTIONS.iter().filter(|other| other.name != section.name);
    let elsewhere = elsewhere.flat_map(|other| other.keys).map(|key| key.name);
    if let Some(near) = nearest(name, elsewhere) {
        return format!("unknown key `{name}`{here}; if you mean `{near}`, it belongs elsewhere");
    }
    let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
    format!("unknown key `{name}`{here}; there are {}", known.join(", "))
}

fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

impl Document {
    /// A section that is there once.
    #[must_use]
    pub fn single(&self, name: &str) -> Option<&Table> {
        self.single.get(name)
    }

    /// All tables of a section that may be repeated.
    #[must_use]
    pub fn repeated(&self, name: &str) -> &[Table] {
        self.repeated.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Table {
    /// What was written for a key of [`super::schema::Kind::Flag`].
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(key)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// The same of a number or size.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The same of a text or word.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.values.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same of a list; empty if the key is not there.
    #[must_use]
    pub fn list(&self, key: &str) -> &[At<String>] {
        match self.values.get(key).map(|at| &at.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// Whether nothing was written into these lists, not even something wrong.
    #[must_use]
    pub fn lacks(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.list(key).is_empty() && !self.broken.contains(key))
    }

    /// Where a key was written.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.values.get(key).map(|at| &at.place).or(self.place.as_ref())
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
