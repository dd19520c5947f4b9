//! SIGINT and SIGTERM end a scan, but its counts are told before.
//!
//! Runs in `fdscan`, as the user. A thread of its own takes the signals, so that a second one ends the
//! process at once, whatever the first one is held up by. It never touches the terminal.

use std::fs;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the counts may take to be told.
const GRACE: Duration = Duration::from_secs(5);

/// The signals that end a scan.
#[derive(Debug)]
pub struct Signals {
    caught: Arc<AtomicI32>,
    stop: PipeReader,
}

impl Signals {
    /// Takes them over from now on, those excepted that were ignored already (as nohup does). None if
    /// that cannot be: then they end the process at once.
    #[must_use]
    pub fn watch() -> Option<Self> {
        let ignored = ignored()?;
        let wanted = [Signal::SIGINT, Signal::SIGTERM];
        let signals: SigSet =
            wanted.into_iter().filter(|signal| ignored >> (*signal as i32 - 1) & 1 == 0).collect();
        let arrivals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).ok()?;
        let (stop, writer) = pipe().ok()?;
        let caught = Arc::new(AtomicI32::new(0));
        let noted = Arc::clone(&caught);
        signals.thread_block().ok()?;
        let taking = thread::Builder::new().spawn(move || take(&arrivals, &noted, writer));
        if taking.is_err() {
            signals.thread_unblock().ok()?;
            return None;
        }
        Some(Self { caught, stop })
    }

    /// The one that came, if one did.
    #[must_use]
    pub fn caught(&self) -> Option<Signal> {
        Signal::try_from(self.caught.load(Ordering::Acquire)).ok()
    }
}

/// Readable, because closed at the other end, once a signal came.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }
}

/// The first one is noted; the second one, or too long a time, ends the process.
fn take(arrivals: &SignalFd, caught: &AtomicI32, stop: PipeWriter) {
    let Some(first) = next(arrivals) else {
        return;
    };
    caught.store(first as i32, Ordering::Release);
    drop(stop);
    let mut waited = [PollFd::new(arrivals, PollFlags::IN)];
    let grace = Timespec::try_from(GRACE).unwrap_or_default();
    let again = poll(&mut waited, Some(&grace)).is_ok_and(|ready| ready > 0);
    let last = if again { next(arrivals) } else { None };
    let status = end_by(last.unwrap_or(first));
    #[expect(clippy::exit, reason = "the other thread is held up by something that may never end")]
    std::process::exit(status.into());
}

fn next(arrivals: &SignalFd) -> Option<Signal> {
    let info = arrivals.read_signal().ok()??;
    Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
}

/// Ends the process by a signal, as whoever waits for it expects: a shell stops a loop then, and tells
/// 128 more than its number. Returns that status if the signal does nothing, as in process 1.
#[must_use]
pub fn end_by(signal: Signal) -> u8 {
    let mut signals = SigSet::empty();
    signals.add(signal);
    if signals.thread_unblock().is_ok() {
        // It returns only if nothing came of it.
        let _ = raise(signal);
    }
    status(signal)
}

/// The exit status by which shells tell a signal.
#[must_use]
pub fn status(signal: Signal) -> u8 {
    u8::try_from(signal as i32).unwrap_or_default().saturating_add(128)
}

/// The signals that are ignored, one bit each.
fn ignored() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_shells() {
        assert_eq!((status(Signal::SIGINT), status(Signal::SIGTERM)), (130, 143));
    }

    #[test]
    fn a_rust_program_ignores_broken_pipes_and_no_interrupts() {
        let ignored = ignored().unwrap();
        assert_eq!(ignored >> (Signal::SIGPIPE as i32 - 1) & 1, 1);
        assert_eq!(ignored >> (Signal::SIGTERM as i32 - 1) & 1, 0);
    }
}
