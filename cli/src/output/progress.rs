//! The line of a long scan that is on its way: how much was done, how fast, and what came last.
//!
//! Runs in `fdscan`, as the user, and only with a terminal as standard error. It is drawn a few times
//! a second at most, never for each file; it never wraps, and is gone before anything else is written.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fdbroker_common::client::Report;
use fdbroker_common::escape::Escaped;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;

use super::summary::Bytes;

/// Scans that are over sooner show nothing; and so long there is none without a file. With -i the
/// first counts come after a second.
const DELAY: Duration = Duration::from_millis(500);
const DELAY_EMPTY: Duration = Duration::from_millis(1500);
/// Time between two drawings, and when output has wiped the line away.
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVAL_WIPED: Duration = Duration::from_millis(30);
/// Columns of a terminal that does not tell.
const COLUMNS: u16 = 80;
/// Fewer columns than these are no room for a name.
const NAME_COLUMNS_MIN: usize = 8;
/// To the beginning of the line, and away with all from there on. The cursor stays where the line
/// begins, so this is right even if the terminal has become narrower and broken the line.
const WIPE: &[u8] = b"\r\x1b[J";

/// How far the scan is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// Never seen: it only knows the rate. A bar draws itself whenever its position changes.
    meter: ProgressBar,
    begun: Instant,
    drawn: Option<Instant>,
    visible: bool,
    /// Summed up from reports.
    reported: Totals,
    /// As the opener said.
    counted: Totals,
    /// The name that came last, as it is: it is escaped only when it is drawn.
    last: Vec<u8>,
}

impl Progress {
    /// One for standard error, if that is a terminal which can move its cursor.
    pub(super) fn on_terminal() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        (io::stderr().is_terminal() && !dumb).then(Self::new)
    }

    fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            meter: ProgressBar::hidden(),
            begun: Instant::now(),
            drawn: None,
            visible: false,
            reported: Totals::default(),
            counted: Totals::default(),
            last: Vec::new(),
        }
    }

    /// Notes an outcome.
    pub(super) fn report(&mut self, report: &Report) {
        let read = matches!(report.outcome, Outcome::Clean | Outcome::Match { .. });
        self.reported.add(&report.outcome, if read { report.size } else { 0 });
        self.last.clear();
        self.last.extend_from_slice(report.path.as_os_str().as_encoded_bytes());
    }

    /// Notes the counts of the opener.
    pub(super) fn count(&mut self, totals: &Totals) {
        self.counted = *totals;
    }

    fn files(&self) -> u64 {
        self.counted.files().max(self.reported.files())
    }

    fn is_due(&self) -> bool {
        let interval = if self.visible { INTERVAL } else { INTERVAL_WIPED };
        match self.drawn {
            Some(drawn) => drawn.elapsed() >= interval,
            None if self.files() == 0 => self.begun.elapsed() >= DELAY_EMPTY,
            None => self.begun.elapsed() >= DELAY,
        }
    }

    /// Draws the line if it is time.
    pub(super) fn draw(&mut self) {
        if !self.is_due() {
            return;
        }
        if self.drawn.is_none() {
            self.bar.set_style(
                ProgressStyle::with_template("{msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            self.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(Line::default())));
        }
        let bytes = self.counted.bytes.max(self.reported.bytes);
        self.meter.set_position(bytes);
        self.bar.set_message(self.text(bytes, self.meter.per_sec(), columns()));
        self.visible = true;
        self.drawn = Some(Instant::now());
    }

    fn text(&self, bytes: u64, rate: f64, columns: u16) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let rate = Bytes(rate as u64);
        let files = self.files();
        let found = self.counted.matched.max(self.reported.matched);
        let mut text = format!("{files} files, {}, {rate}/s", Bytes(bytes));
        if found > 0 {
            text.push_str(&format!(", {found} found"));
        }
        // The last column stays free: some terminals break the line there.
        line(&text, &Escaped(&self.last).to_string(), usize::from(columns).saturating_sub(1))
    }

    /// Wipes the line away, if it is there.
    pub(super) fn wipe(&mut self) {
        if std::mem::take(&mut self.visible) {
            // Nobody is there to be told otherwise.
            let _ = io::stderr().write_all(WIPE);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
        // Else the bar would draw itself once more when it is dropped.
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Head and name in so many columns. Of a name that is too long the end is shown.
fn line(head: &str, name: &str, columns: usize) -> String {
    let room = columns.saturating_sub(head.len()).saturating_sub(2);
    if name.is_empty() || room < NAME_COLUMNS_MIN {
        return head.chars().take(columns).collect();
    }
    if width(name) <= room {
        return format!("{head}  {name}");
    }
    let mut left = room.saturating_sub(3);
    let start = name.char_indices().rev().take_while(|(_, letter)| {
        let fits = columns_of(*letter) <= left;
        left = left.saturating_sub(columns_of(*letter));
        fits
    });
    let start = start.last().map_or(name.len(), |(start, _)| start);
    format!("{head}  ...{}", name.get(start..).unwrap_or_default())
}

fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Most columns that a terminal uses for a letter. Terminals differ about all that is not ASCII.
fn columns_of(letter: char) -> usize {
    if letter.is_ascii() { 1 } else { 2 }
}

/// Asked each time, because it changes.
fn columns() -> u16 {
    let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { COLUMNS } else { columns }
}

/// What the bar draws on: one line, written in one piece.
#[derive(Debug, Default)]
struct Line(Mutex<String>);

impl TermLike for Line {
    fn width(&self) -> u16 {
        columns()
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Without the blanks that fill the line up: they would be broken with it.
        let drawn = [WIPE, text.trim_end().as_bytes(), b"\r"].concat();
        io::stderr().write_all(&drawn)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn progress(path: &[u8]) -> Progress {
        let mut progress = Progress::new();
        let path = OsStr::from_bytes(path).into();
        progress.report(&Report {
            target: 0,
            path,
            size: 2048,
            outcome: Outcome::Clean,
            details: None,
        });
        progress
    }

    #[test]
    fn it_fits_whatever_the_width() {
        let long = "/srv/\u{65e5}\u{672c}\u{8a9e}/".repeat(40);
        let progress = progress(long.as_bytes());
        for columns in 0..300_u16 {
            let text = progress.text(2048, 5e9, columns);
            assert!(width(&text) <= usize::from(columns.saturating_sub(1)), "{columns}: {text}");
        }
        assert_eq!(progress.text(2048, 0.0, 25), "1 files, 2.0 KiB, 0 byte");
    }

    #[test]
    fn of_a_long_name_the_end_is_shown() {
        assert_eq!(line("head", "/a/b", 20), "head  /a/b");
        assert_eq!(line("head", "/usr/share/doc/file.txt", 20), "head  ...oc/file.txt");
        assert_eq!(line("head", "/usr/share/doc/file.txt", 12), "head");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let text = progress("a\x1b[2J\r\n\u{202e}b".as_bytes()).text(0, 0.0, 100);
        assert!(text.ends_with("  a\\x1b[2J\\r\\n\\u{202e}b"), "{text}");
        let text = progress(b"x\xff\x9b").text(0, 0.0, 100);
        assert!(text.ends_with("  x\\xff\\x9b"), "{text}");
    }
}
