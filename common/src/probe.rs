//! Escape probes: acts that a fence forbids, and what exactly has to become of each.
//!
//! An act is tried by a process that has been made for it: a worker that is forked and sealed as any
//! other ([`crate::scanner_link::BrokerToTemplate::Probe`]), or `fdbroker` in a role of its own that
//! `fdbrokerctl self-test` starts. How it ends is the result, by the kernel's word. No process that
//! serves anybody ever tries one, and an act that succeeds does no harm.

mod acts;
mod attempt;
mod files;
mod identity;
mod memory;
mod processes;
mod props;
mod sockets;
mod system;

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

pub use acts::Act;
pub use attempt::landlock_abi;
pub use props::{FILE, Props, SURPLUS};

use crate::lease_link::LossCause;

/// How long a process that tries an act may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What an attempt came to: nothing kept it from being done, or errno.
pub type Tried = Result<(), Errno>;

/// Exit status of a process whose act was refused: this plus errno, which is below 134 everywhere.
const REFUSED: u8 = 64;
/// Largest errno that fits.
const ERRNO_MAX: u8 = u8::MAX - REFUSED;

/// A set of restrictions that a process cannot leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fence {
    /// A worker's seal.
    Worker,
    /// An opener that acts for an ordinary user.
    Opener,
    /// An opener that acts for root, and the rule reader: with `CAP_DAC_READ_SEARCH`.
    Reader,
    /// The dispatcher's.
    Dispatcher,
    /// The broker's own, which all of its children inherit.
    Broker,
}

impl Fence {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Worker, Self::Opener, Self::Reader, Self::Dispatcher, Self::Broker];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Opener => "opener",
            Self::Reader => "root-opener",
            Self::Dispatcher => "dispatcher",
            Self::Broker => "broker",
        }
    }

    /// The fence of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fence| fence.name() == name)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What became of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The process was killed by this signal when it tried.
    Killed(i32),
    /// The kernel refused with this errno.
    Refused(i32),
    /// It was done.
    Succeeded,
    /// It had not ended in time.
    Hung,
    /// The process ended otherwise, before the act or instead of it.
    NotTried,
}

impl Found {
    /// From an exit status.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        let refused = i32::from(REFUSED) + 1..=i32::from(u8::MAX);
        match code {
            // No process that tries an act ends like this unless it could do it.
            0 => Self::Succeeded,
            code if refused.contains(&code) => Self::Refused(code - i32::from(REFUSED)),
            _ => Self::NotTried,
        }
    }

    /// From what a template says of a worker.
    #[must_use]
    pub fn from_cause(cause: LossCause) -> Self {
        match cause {
            LossCause::Signal(signal) => Self::Killed(signal),
            LossCause::Exit(code) => Self::from_code(code),
            LossCause::Killed => Self::Hung,
            LossCause::Unknown => Self::NotTried,
        }
    }
}

/// The exit status that tells what an attempt came to.
#[must_use]
pub fn exit_code(tried: Tried) -> u8 {
    match tried {
        Ok(()) => 0,
        Err(errno) => {
            let errno = u8::try_from(errno as i32).unwrap_or(ERRNO_MAX);
            REFUSED.saturating_add(errno.clamp(1, ERRNO_MAX))
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(signal) => match Signal::try_from(*signal) {
                Ok(signal) => write!(out, "killed by {signal}"),
                Err(_) => write!(out, "killed by signal {signal}"),
            },
            Self::Refused(errno) => write!(out, "refused: {:?}", Errno::from_raw(*errno)),
            Self::Succeeded => out.write_str("succeeded"),
            Self::Hung => out.write_str("not finished in time"),
            Self::NotTried => out.write_str("could not be tried"),
        }
    }
}

/// What has to become of an act inside a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// One of these, and nothing else. More than one only where kernels differ.
    pub any_of: &'static [Found],
    /// The version of Landlock in the first kernel that can refuse it so; 0 if every kernel can.
    pub landlock: u32,
}

impl Expected {
    const fn exactly(any_of: &'static [Found]) -> Option<Self> {
        Some(Self { any_of, landlock: 0 })
    }

    const fn since(any_of: &'static [Found], landlock: u32) -> Option<Self> {
        Some(Self { any_of, landlock })
    }

    /// Whether that is what was found.
    #[must_use]
    pub fn is(&self, found: Found) -> bool {
        self.any_of.contains(&found)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, found) in self.any_of.iter().enumerate() {
            write!(out, "{}{found}", if nth == 0 { "" } else { ", or " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_words_and_lead_back() {
        let names: BTreeSet<&str> = Act::ALL.iter().map(|act| act.name()).collect();
        assert_eq!(names.len(), Act::ALL.len());
        for act in Act::ALL {
            let is_plain =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            assert!(act.name().chars().all(is_plain), "{}", act.name());
            assert_eq!(Act::named(act.name()), Some(*act));
            assert!(!act.about().is_empty());
        }
        for fence in Fence::ALL {
            assert_eq!(Fence::named(fence.name()), Some(fence));
        }
    }

    #[test]
    fn no_act_may_ever_succeed_inside_a_fence() {
        for (fence, act) in
            Fence::ALL.iter().flat_map(|fence| Act::ALL.iter().map(move |act| (*fence, *act)))
        {
            if let Some(expected) = act.expected(fence) {
                assert!(!expected.any_of.is_empty());
                for found in expected.any_of {
                    let is_refusal = matches!(found, Found::Killed(_) | Found::Refused(_));
                    assert!(is_refusal, "{fence} {}", act.name());
                }
            }
        }
    }

    #[test]
    fn a_worker_is_asked_to_try_every_act() {
        for act in Act::ALL {
            assert!(act.expected(Fence::Worker).is_some(), "{}", act.name());
        }
    }

    #[test]
    fn an_exit_status_tells_what_the_attempt_came_to() {
        assert_eq!(Found::from_code(exit_code(Ok(())).into()), Found::Succeeded);
        for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOSYS, Errno::EHWPOISON] {
            let code = exit_code(Err(errno)).into();
            assert_eq!(Found::from_code(code), Found::Refused(errno as i32));
        }
        // What the panic hook, an ordinary failure and the command line leave behind.
        for code in [1, 2, 64, 101 + 256, -1] {
            assert_eq!(Found::from_code(code), Found::NotTried, "{code}");
        }
        assert_eq!(Found::from_cause(LossCause::Signal(31)), Found::Killed(31));
        assert_eq!(Found::from_cause(LossCause::Killed), Found::Hung);
        assert_eq!(Found::from_cause(LossCause::Unknown), Found::NotTried);
    }

    #[test]
    fn results_are_told_in_words() {
        assert_eq!(Found::Killed(31).to_string(), "killed by SIGSYS");
        assert_eq!(Found::Refused(13).to_string(), "refused: EACCES");
    }
}
