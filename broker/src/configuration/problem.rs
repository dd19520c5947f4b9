//! What is wrong in the configuration, and where: one line each, safe to be shown. Pure.

use std::fmt;
use std::rc::Rc;

use fdbroker_common::escape::Escaped;

use super::source::Source;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Rc<str>,
    line: usize,
    column: usize,
}

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Option<Place>,
    text: String,
}

impl Place {
    /// Where this byte of a file is.
    #[must_use]
    pub fn new(source: &Source, offset: usize) -> Self {
        let (line, column) = source.line_and_column(offset);
        Self { file: Rc::clone(&source.name), line, column }
    }

    /// File and line without the column, for what is longer than a word.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// The line alone.
    #[must_use]
    pub fn number(&self) -> usize {
        self.line
    }

    /// A mistake here.
    #[must_use]
    pub fn problem(&self, text: impl fmt::Display) -> Problem {
        Problem { place: Some(self.clone()), text: safe(&text) }
    }
}

impl Problem {
    /// Of the command line, or of everything.
    #[must_use]
    pub fn general(text: impl fmt::Display) -> Self {
        Self { place: None, text: safe(&text) }
    }

    /// Here, or of everything.
    #[must_use]
    pub fn at(place: Option<&Place>, text: impl fmt::Display) -> Self {
        Self { place: place.cloned(), text: safe(&text) }
    }
}

/// Whatever a file or a name contains, it is one line, and moves no cursor.
fn safe(text: &dyn fmt::Display) -> String {
    // A backslash is no danger, and was written here on purpose if what was escaped has one.
    let escape = |part: &str| Escaped(part.as_bytes()).to_string();
    text.to_string().split('\\').map(escape).collect::<Vec<_>>().join("\\")
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(out, "{place}: {}", self.text),
            None => out.write_str(&self.text),
        }
    }
}
