//! What a user reads: one line or object a file, then a summary.
//!
//! Runs as the user. Names that others chose are escaped or encoded here, and nowhere else; standard
//! output carries results only, and what went wrong goes to standard error.

mod advice;
mod colour;
mod details;
mod json;
mod progress;
mod screen;
mod summary;
mod text;

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;

use fdbroker_common::client::Report;
use fdbroker_common::escape::Escaped;
use fdbroker_common::outcome::{Failure, Outcome};
use fdbroker_common::totals::Totals;

use advice::advice;
pub use colour::ColourChoice;
pub use details::Shows;
pub use json::{Counts, write_line};
pub(crate) use json::{PathObject, path_object};
use progress::Progress;
use screen::Screen;
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

/// Which files have a line on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Each.
    All,
    /// Those that match. What could not be scanned goes to standard error, unless it is JSON.
    Matches,
    /// None. What could not be scanned goes to standard error.
    Nothing,
}

/// What is told, and how.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The form of results.
    pub format: Format,
    /// Which files are told.
    pub shown: Shown,
    /// What is told of a file besides its outcome.
    pub details: Shows,
    /// Whether the counts are told in the end.
    pub summary: bool,
    /// Whether standard error has advice about what could not be scanned.
    pub advice: bool,
    /// Whether the way of a long scan is shown, if there is a terminal.
    pub progress: bool,
    /// Whether outcomes are coloured.
    pub colour: ColourChoice,
}

/// Where results go.
pub struct Output<W: Write> {
    results: BufWriter<Screen<W>>,
    style: Style,
    coloured: bool,
    coloured_errors: bool,
}

impl Output<StdoutLock<'static>> {
    /// Prepares the way to standard output.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let terminal = io::stdout().is_terminal();
        let progress = if style.progress { Progress::on_terminal() } else { None };
        let screen = Screen::new(io::stdout().lock(), progress, terminal);
        Self {
            results: BufWriter::with_capacity(BUFFER_BYTES, screen),
            coloured: style.colour.on(terminal),
            coloured_errors: style.colour.on(io::stderr().is_terminal()),
            style,
        }
    }
}

impl<W: Write> Output<W> {
    /// Tells what became of a file.
    ///
    /// # Errors
    /// As write(2).
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        if let Some(progress) = &mut self.results.get_mut().progress {
            progress.report(report);
        }
        self.line(report)?;
        if let (true, Some(advice)) = (self.style.advice, advice(&report.outcome)) {
            // Its line comes first, if that is on the same terminal.
            self.flush()?;
            self.complain(&format_args!("fdscan: {}: {advice}", name(&report.path)));
        }
        Ok(())
    }

    fn line(&mut self, report: &Report) -> io::Result<()> {
        if self.style.shown != Shown::All {
            match report.outcome {
                Outcome::Match { .. } if self.style.shown == Shown::Matches => {}
                Outcome::Clean | Outcome::Skipped(_) | Outcome::Match { .. } => return Ok(()),
                // A program reads one stream: it gets what is no match there, too.
                _ if self.style.format == Format::Json => {}
                _ => {
                    self.complain(&text::Line(report, self.coloured_errors));
                    return Ok(());
                }
            }
        }
        match self.style.format {
            Format::Text => {
                let below = details::Below(report, self.style.details);
                writeln!(self.results, "{}{below}", text::Line(report, self.coloured))
            }
            Format::Json => json::write_report(&mut self.results, report, self.style.details),
        }
    }

    /// Notes the counts so far.
    pub fn count(&mut self, totals: &Totals) {
        if let Some(progress) = &mut self.results.get_mut().progress {
            progress.count(totals);
        }
    }

    /// Shows how far the scan is, if it is time to.
    pub fn draw(&mut self) {
        self.results.get_mut().draw();
    }

    /// Shows no more of the way.
    pub fn arrive(&mut self) {
        self.results.get_mut().progress = None;
    }

    /// Writes a line to standard error, beside the line of progress.
    pub fn complain(&mut self, line: &dyn fmt::Display) {
        self.results.get_mut().wipe();
        complain(line);
    }

    /// Tells the counts, unless they are not wanted.
    ///
    /// # Errors
    /// As write(2).
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if self.style.summary {
            match self.style.format {
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
        out.debug_struct("Output").field("style", &self.style).finish_non_exhaustive()
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
