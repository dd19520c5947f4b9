//! The workers of a template.
//!
//! Runs in a sealed template. A worker is held by a pidfd, so that no signal ever reaches a process
//! that merely has the same number, and by the reading end of its standard error, of which a little
//! is read, escaped and logged once it has ended.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_common::channel::Channel;
use fdbroker_common::escape::Escaped;
use fdbroker_common::job_link::{OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::probe::Act;
use log::{debug, warn};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::fork::{Forked, fork};
use crate::seal::TemplateSealed;

/// What a worker has said on standard error is cut to this.
const LAST_WORDS_BYTES_MAX: usize = 1024;

/// What a worker is forked for.
#[derive(Debug)]
pub enum Task {
    /// To judge files until its link is closed.
    Serve,
    /// To try something that its seal forbids, for instance on this file.
    Probe(Act, OwnedFd),
}

/// What a freshly forked worker is given.
#[derive(Debug)]
pub struct Seat {
    /// Its end of the job link.
    pub link: Channel<WorkerToOpener, OpenerToWorker>,
    /// Where its standard error is to go.
    pub words: OwnedFd,
    /// The template.
    pub parent: u32,
    /// What it is there for.
    pub task: Task,
}

/// Which side of a fork this is, with what belongs to it.
#[derive(Debug)]
#[must_use]
pub enum Spawned {
    /// The template; the opener's end of the job link.
    Template(OwnedFd),
    /// The new worker.
    Worker(Seat),
}

#[derive(Debug)]
struct Worker {
    number: u32,
    process: OwnedFd,
    words: OwnedFd,
    killed: bool,
    is_probe: bool,
}

/// Workers by number. Dropping it kills nobody: a new worker drops the list of its siblings.
#[derive(Debug, Default)]
pub struct Children(Vec<Worker>);

impl Children {
    /// Forks a worker.
    ///
    /// # Errors
    /// As socketpair(2), pipe2(2), fork(2) and pidfd_open(2); no worker is left then.
    pub fn spawn(
        &mut self,
        sealed: &TemplateSealed,
        number: u32,
        task: Task,
    ) -> io::Result<Spawned> {
        let (link, opener) = Channel::pair()?;
        let (words, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let parent = std::process::id();
        let is_probe = matches!(task, Task::Probe(..));
        let pid = match fork(sealed)? {
            Forked::Child => {
                return Ok(Spawned::Worker(Seat { link, words: theirs, parent, task }));
            }
            Forked::Parent(pid) => pid,
        };
        // It is not reaped yet, so the number is still its own. Without a pidfd nothing keeps it
        // alive either: dropping its link ends it.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => {
                drop((link, opener));
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                return Err(error.into());
            }
        };
        debug!("worker {number} forked (pid {})", Pid::as_raw(Some(pid)));
        self.0.push(Worker { number, process, words, killed: false, is_probe });
        Ok(Spawned::Template(opener))
    }

    /// Ends a worker; an unknown one has ended already.
    pub fn kill(&mut self, number: u32) {
        if let Some(worker) = self.0.iter_mut().find(|worker| worker.number == number) {
            worker.killed |= worker.is_alive();
            let _ = pidfd_send_signal(&worker.process, rustix::process::Signal::KILL);
        }
    }

    /// Ends all of them.
    pub fn kill_all(&mut self) {
        for worker in &mut self.0 {
            worker.killed = true;
            let _ = pidfd_send_signal(&worker.process, rustix::process::Signal::KILL);
        }
    }

    /// Descriptors that become readable when a worker ends.
    pub fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|worker| worker.process.as_fd())
    }

    /// Takes one worker that has ended off the list.
    pub fn reap(&mut self) -> Option<(u32, LossCause)> {
        let (place, cause) =
            self.0.iter().enumerate().find_map(|(place, worker)| Some((place, worker.cause()?)))?;
        let worker = self.0.remove(place);
        worker.report(cause);
        Some((worker.number, cause))
    }
}

impl Worker {
    /// Whether it has yet to end. One that was killed by somebody else, as for want of memory, is
    /// asked to end when its silence is noticed; that must not hide what became of it.
    fn is_alive(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::PidFd(self.process.as_fd()), options), Ok(None))
    }

    /// How it ended; none while it lives.
    fn cause(&self) -> Option<LossCause> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match waitid(WaitId::PidFd(self.process.as_fd()), options) {
            Ok(status) => status?,
            // Somebody set SIGCHLD to be ignored: it has ended, nobody knows how.
            Err(_) => return Some(LossCause::Unknown),
        };
        Some(match (status.terminating_signal(), status.exit_status()) {
            (Some(libc::SIGKILL), _) if self.killed => LossCause::Killed,
            (Some(signal), _) => LossCause::Signal(signal),
            (None, Some(code)) => LossCause::Exit(code),
            (None, None) => LossCause::Unknown,
        })
    }

    fn report(&self, cause: LossCause) {
        let number = self.number;
        let mut words = [0; LAST_WORDS_BYTES_MAX];
        let length = rustix::io::read(&self.words, &mut words).unwrap_or(0);
        let words = words.get(..length).unwrap_or_default().trim_ascii();
        let words = Escaped(words);
        match cause {
            LossCause::Killed | LossCause::Exit(0) => debug!("worker {number} ended: {cause:?}"),
            // That is what it was for.
            cause if self.is_probe => debug!("probe {number} ended: {cause:?} {words}"),
            LossCause::Signal(signal) => {
                warn!("worker {number} ended: {} {words}", SignalName(signal));
            }
            LossCause::Exit(code) => warn!("worker {number} ended: exit status {code} {words}"),
            LossCause::Unknown => warn!("worker {number} ended: unknown cause {words}"),
        }
    }
}

/// Displays a signal by its name.
pub(crate) struct SignalName(pub(crate) i32);

impl fmt::Display for SignalName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => out.write_str(signal.as_str()),
            Err(_) => write!(out, "signal {}", self.0),
        }
    }
}
