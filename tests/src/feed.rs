//! An fdscan that is given its files one by one, so that a test can act in the middle of a scan.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{Output, Program, Running};

/// `fdscan --files-from -` with the list still open.
#[derive(Debug)]
pub struct Feed {
    fdscan: Running,
    list: File,
    given: Vec<PathBuf>,
}

impl Feed {
    /// Starts it; `fdscan` has all other arguments already.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(fdscan: Program) -> Self {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let fdscan = fdscan.args(["--files-from", "-"]).stdin(reader).spawn();
        Self { fdscan, list: File::from(OwnedFd::from(writer)), given: Vec::new() }
    }

    /// Names one more file.
    ///
    /// # Panics
    /// When fdscan has ended.
    pub fn give(&mut self, path: &Path) {
        let line = [path.as_os_str().as_bytes(), b"\n"].concat();
        self.list.write_all(&line).expect("fdscan reads its list");
        self.given.push(path.to_owned());
    }

    /// Whether that was named already.
    #[must_use]
    pub fn was_given(&self, path: &Path) -> bool {
        self.given.iter().any(|given| given == path)
    }

    /// Names one more file and waits for the line that tells what became of it.
    ///
    /// # Panics
    /// When that line does not come.
    #[track_caller]
    pub fn scan(&mut self, path: &Path, outcome: &str) {
        self.give(path);
        self.fdscan.wait_for_output(&format!("{}: {outcome}\n", path.display()));
    }

    /// The process.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.fdscan
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.fdscan.signal(signal);
    }

    /// Ends fdscan by a signal; what it started may go on, and keep its output open.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end_by(mut self, signal: Signal) -> ExitStatus {
        self.fdscan.signal(signal);
        self.fdscan.ended_within(crate::PATIENCE).expect("the signal ends it")
    }

    /// Closes the list; the process goes on.
    #[must_use]
    pub fn close(self) -> Running {
        self.fdscan
    }

    /// Closes the list and waits for the end.
    ///
    /// # Panics
    /// When it does not end within the bound.
    #[must_use]
    #[track_caller]
    pub fn finish_within(self, bound: Duration) -> Output {
        drop(self.list);
        self.fdscan.finish_within(bound)
    }

    /// As [`Feed::finish_within`], with [`crate::PATIENCE`].
    ///
    /// # Panics
    /// As [`Feed::finish_within`].
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Output {
        self.finish_within(crate::PATIENCE)
    }
}
