//! Standard output that may be the same terminal as the line of progress.
//!
//! Runs in `fdscan`, as the user. Whatever is written has a line of its own: the line of progress is
//! wiped away before, and comes back only where a line begins.

use std::io::{self, Write};

use super::progress::Progress;

/// Standard output, and the line of progress if there is one.
pub(super) struct Screen<W> {
    results: W,
    pub(super) progress: Option<Progress>,
    /// Whether standard output is a terminal too.
    shared: bool,
    in_line: bool,
}

impl<W> Screen<W> {
    pub(super) fn new(results: W, progress: Option<Progress>, shared: bool) -> Self {
        Self { results, progress, shared, in_line: false }
    }

    /// Makes room for something else.
    pub(super) fn wipe(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.wipe();
        }
    }

    /// Draws the line of progress where it does no harm.
    pub(super) fn draw(&mut self) {
        if let (Some(progress), false) = (&mut self.progress, self.shared && self.in_line) {
            progress.draw();
        }
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shared {
            self.wipe();
        }
        let length = self.results.write(bytes)?;
        if let Some(last) = bytes.get(..length).and_then(<[u8]>::last) {
            self.in_line = *last != b'\n';
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.results.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_whether_a_line_has_begun() {
        let mut screen = Screen::new(Vec::new(), None, true);
        for (bytes, in_line) in [(&b"a"[..], true), (b"b\n", false), (b"c\nd", true), (b"", true)] {
            screen.write_all(bytes).unwrap();
            assert_eq!(screen.in_line, in_line);
        }
    }
}
