//! A program on a terminal of its own: a pseudo-terminal that controls its session.
//!
//! What a test types goes through the line discipline, so Ctrl-C is a signal as for a user. What the
//! program writes is collected, with all that moves the cursor; [`Terminal::screen`] is what is seen.

mod screen;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::running::Sink;
use crate::{PATIENCE, Program, Running};
pub use screen::{Cell, Screen};

/// How a program is started on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Standard output and standard error are the terminal.
    Both,
    /// Only standard error is; standard output is collected apart.
    Errors,
}

/// A running program and its terminal.
#[derive(Debug)]
pub struct Terminal {
    running: Running,
    master: File,
    shown: Sink,
    columns: u16,
}

/// Reads until nobody has the terminal open any more, which is an error of read(2).
struct Master(File);

impl Read for Master {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(buffer).unwrap_or(0))
    }
}

fn size(columns: u16) -> Winsize {
    Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// Starts a program on a terminal with so many columns. Its standard input is the terminal too,
    /// unless it has one already.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: Program, on: On, columns: u16) -> Self {
        Self::open(columns, |terminal| {
            let both = (on == On::Both).then(|| terminal.try_clone().expect("a descriptor"));
            program.on_terminal(terminal, both)
        })
    }

    /// The same, with this as standard output.
    ///
    /// # Panics
    /// As [`Terminal::start`].
    #[must_use]
    pub fn with_stdout(program: Program, stdout: OwnedFd, columns: u16) -> Self {
        Self::open(columns, |terminal| program.on_terminal(terminal, Some(stdout)))
    }

    fn open(columns: u16, start: impl FnOnce(OwnedFd) -> Running) -> Self {
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let master = File::from(pair.master);
        tcsetwinsize(&master, size(columns)).expect("a size");
        let running = start(pair.slave);
        let shown = Sink::collect(Master(master.try_clone().expect("a descriptor")));
        Self { running, master, shown, columns }
    }

    /// Everything that was written to the terminal so far.
    #[must_use]
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.bytes()).into_owned()
    }

    /// What is to be seen now.
    #[must_use]
    pub fn screen(&self) -> Screen {
        Screen::of(&self.written(), self.columns.into())
    }

    /// Waits until what was written has the property.
    ///
    /// # Panics
    /// When it does not come within [`PATIENCE`].
    #[track_caller]
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let mut has = |bytes: &[u8]| holds(&String::from_utf8_lossy(bytes));
        self.shown.wait(PATIENCE, |said| said.closed || has(&said.bytes));
        assert!(has(&self.shown.bytes()), "{what} does not come:\n{:?}", self.written());
    }

    /// Waits for the text.
    ///
    /// # Panics
    /// As [`Terminal::wait`].
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |written| written.contains(text));
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Makes the window wider or narrower.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&mut self, columns: u16) {
        tcsetwinsize(&self.master, size(columns)).expect("a size");
        self.columns = columns;
    }

    /// The process.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Waits for its end: exit status, or the signal; and everything that was written.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn finish(&mut self) -> (Option<i32>, Option<Signal>) {
        let status = self.running.ended_within(PATIENCE).expect("an end");
        let bound = Duration::from_secs(10);
        assert!(self.shown.wait(bound, |said| said.closed), "it is kept open");
        assert!(self.running.output_ends_within(bound), "standard output is kept open");
        (status.code(), status.signal().and_then(|signal| Signal::try_from(signal).ok()))
    }

    /// What came on standard output, if that is not the terminal.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.text()
    }
}
