//! What a user reads: one line or object a file, then a summary.
//!
//! Runs as the user. Names that others chose are escaped or encoded here, and nowhere else; standard
//! output carries results only, and what went wrong goes to standard error.

mod json;
mod summary;
mod text;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use fdbroker_common::client::Report;
use fdbroker_common::escape::Escaped;
use fdbroker_common::outcome::{Failure, Outcome};

pub use json::{Counts, write_line};
pub use summary::Summary;
pub use text::Reason;

/// How much is held back before it is written, at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// Objects for programs.
    Json,
}

/// Where results go.
pub struct Output<W: Write> {
    results: BufWriter<W>,
    format: Format,
    matches_only: bool,
    with_summary: bool,
}

impl<W: Write> Output<W> {
    /// Prepares the way to standard output.
    pub fn new(results: W, format: Format, matches_only: bool, with_summary: bool) -> Self {
        Self {
            results: BufWriter::with_capacity(BUFFER_BYTES, results),
            format,
            matches_only,
            with_summary,
        }
    }

    /// Tells what became of a file.
    ///
    /// # Errors
    /// As write(2).
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        if self.matches_only {
            match report.outcome {
                Outcome::Match { .. } => {}
                Outcome::Clean | Outcome::Skipped(_) => return Ok(()),
                // A program reads one stream: it gets what is no match there, too.
                _ if self.format == Format::Json => {}
                _ => {
                    complain(&text::Line(report));
                    return Ok(());
                }
            }
        }
        match self.format {
            Format::Text => writeln!(self.results, "{}", text::Line(report)),
            Format::Json => json::write_report(&mut self.results, report),
        }
    }

    /// Tells the counts, unless they are not wanted.
    ///
    /// # Errors
    /// As write(2).
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if self.with_summary {
            match self.format {
                Format::Text => summary.write_text(&mut self.results)?,
                Format::Json => json::write_summary(&mut self.results, summary)?,
            }
        }
        self.flush()
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// As write(2).
    pub fn flush(&mut self) -> io::Result<()> {
        self.results.flush()
    }
}

impl<W: Write> fmt::Debug for Output<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Writes a line to standard error. If that is not possible, nobody is there to be told.
pub fn complain(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A path for people.
#[must_use]
pub fn name(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_encoded_bytes())
}

/// The words of a system error, without its number.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Failure::System(code).to_string(),
        None => error.to_string(),
    }
}
