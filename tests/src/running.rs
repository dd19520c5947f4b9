//! A started program: its process group, its output as it comes, its end.
//!
//! Each program is the leader of a process group of its own, so whatever it starts can be found even
//! when its parent has gone. Dropping a [`Running`] kills the program, not the rest of the group.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::PATIENCE;

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The line of standard output that begins like this.
    #[must_use]
    pub fn line(&self, beginning: &str) -> Option<String> {
        self.text().lines().find(|line| line.starts_with(beginning)).map(str::to_owned)
    }

    /// Fails the test unless the program ended with this status.
    ///
    /// # Panics
    /// With everything that it said.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, signal, .. } = self;
        write!(out, "exit status {code:?}, signal {signal:?}\n--- standard output\n")?;
        write!(out, "{}--- standard error\n{}", self.text(), self.errors())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closed: bool,
}

/// What comes out of a pipe, collected by a thread.
#[derive(Debug, Clone)]
pub(crate) struct Sink(Arc<(Mutex<Collected>, Condvar)>);

impl Sink {
    pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let sink = Self(Arc::default());
        let shared = sink.clone();
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let length = pipe.read(&mut buffer).unwrap_or(0);
                let mut collected = shared.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                collected.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
                collected.closed = length == 0;
                shared.0.1.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        sink
    }

    /// Waits until the condition holds; false if it does not within the bound.
    pub(crate) fn wait(&self, bound: Duration, mut holds: impl FnMut(&Collected) -> bool) -> bool {
        let begun = Instant::now();
        let mut collected = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !holds(&collected) {
            let left = bound.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            let woken = self.0.1.wait_timeout(collected, left);
            collected = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }
}

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: Sink,
    stderr: Sink,
    ended: Option<ExitStatus>,
}

impl Running {
    pub(crate) fn new(name: String, child: Child, stdout: Sink, stderr: Sink) -> Self {
        Self { name, child, stdout, stderr, ended: None }
    }

    /// Process id, and number of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Standard output so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }

    /// Whether standard output ends within the bound, and all that came on it is there.
    #[must_use]
    pub fn output_ends_within(&self, bound: Duration) -> bool {
        self.stdout.wait(bound, |said| said.closed)
    }

    /// Waits until standard error contains the text this many times.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`], or the program ends without having said it.
    #[track_caller]
    pub fn wait_for_times(&self, text: &str, times: usize) {
        let count = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches(text).count();
        self.stderr.wait(PATIENCE, |said| said.closed || count(&said.bytes) >= times);
        let log = self.log();
        assert!(count(log.as_bytes()) >= times, "{} did not say {text:?}:\n{log}", self.name);
    }

    /// Waits until standard error contains the text.
    ///
    /// # Panics
    /// As [`Running::wait_for_times`].
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// Waits until standard output contains the text.
    ///
    /// # Panics
    /// As [`Running::wait_for_times`].
    #[track_caller]
    pub fn wait_for_output(&self, text: &str) {
        let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        self.stdout.wait(PATIENCE, |said| said.closed || has(&said.bytes));
        let said = self.text();
        assert!(said.contains(text), "{} did not say {text:?}:\n{said}{}", self.name, self.log());
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended.is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // It is our child and not collected yet, so the number is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for its end; none if that does not come within the bound.
    pub fn ended_within(&mut self, bound: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() && wait_end(&self.child, bound) {
            self.ended = self.child.wait().ok();
        }
        self.ended
    }

    /// Waits for its end and the end of its output.
    ///
    /// # Panics
    /// When it does not end within the bound, or somebody keeps its output open.
    #[track_caller]
    pub fn finish_within(mut self, bound: Duration) -> Output {
        self.take_output_within(bound)
    }

    /// As [`Running::finish_within`], of one that has ended.
    ///
    /// # Panics
    /// As [`Running::finish_within`].
    #[track_caller]
    pub fn take_output(&mut self) -> Output {
        self.take_output_within(PATIENCE)
    }

    #[track_caller]
    fn take_output_within(&mut self, bound: Duration) -> Output {
        let Some(status) = self.ended_within(bound) else {
            panic!("{} has not ended after {bound:?}:\n{}{}", self.name, self.text(), self.log());
        };
        for sink in [&self.stdout, &self.stderr] {
            assert!(
                sink.wait(PATIENCE, |said| said.closed),
                "{} has ended, but something that it started keeps its output open:\n{}",
                self.name,
                crate::proc::describe(
                    &crate::proc::group(self.pid())
                        .iter()
                        .map(|entry| entry.pid)
                        .collect::<Vec<_>>()
                ),
            );
        }
        Output {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
        }
    }

    /// As [`Running::finish_within`], with [`PATIENCE`].
    ///
    /// # Panics
    /// As [`Running::finish_within`].
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Output {
        self.finish_within(PATIENCE)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if self.ended.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// Whether a child has ended within the bound; it is not collected.
fn wait_end(child: &Child, bound: Duration) -> bool {
    let pid = rustix::process::Pid::from_child(child);
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let begun = Instant::now();
    loop {
        let left = bound.saturating_sub(begun.elapsed());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut waited = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        match poll(&mut waited, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.is_ok_and(|ready| ready > 0),
        }
    }
}
