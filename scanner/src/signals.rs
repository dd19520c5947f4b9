//! SIGTERM and SIGINT as events, and ends of children.
//!
//! Used by the supervisor only. No handler runs: the signals are blocked and read from a descriptor.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Requests to end.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Takes the signals over from now on.
    ///
    /// # Errors
    /// As sigprocmask(2) and signalfd(2).
    pub fn block() -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        // Wakes whoever waits: an orphan has no descriptor that would.
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// The request to end that arrived, if one did.
    ///
    /// # Errors
    /// As read(2).
    pub fn take(&self) -> nix::Result<Option<Signal>> {
        while let Some(info) = self.0.read_signal()? {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(signal)) if signal != Signal::SIGCHLD => return Ok(Some(signal)),
                _ => {}
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets every signal through again; a program inherits what its parent blocked.
///
/// # Errors
/// As sigprocmask(2).
pub fn unblock() -> nix::Result<()> {
    SigSet::empty().thread_set_mask()
}
