//! What was decided at start: whose broker this is, which directories, which users.
//!
//! Runs in the broker. Command line, configuration file and user database are read by a process of
//! their own (`configuration`), which root only starts and hears: no text is parsed as uid 0.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::id;

use fdbroker_common::channel::ChannelError;
use fdbroker_common::wire::{Message, WireError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::policy::Policy;
use super::sanitize::forget_passed;
use super::spawn;
use crate::dispatch_link::Plan;

/// User ids for processes of ours that own no file: a range that neither distributions nor systemd
/// hand out (systemd.io/UIDS-GIDS).
pub(crate) const OWN_UIDS: std::ops::RangeInclusive<u32> = 65_520..=65_531;

/// Exit status when an administrator must mend something before a new start.
pub const FAILED: u8 = 2;

/// Whose broker this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "told of the variants")]
pub enum Mode {
    /// Root's, for all users. User and group id of the scanner; user ids of the openers for callers who may read
    /// everything, and for grants.
    System { scanner: (u32, u32), reader_uid: u32, granted_uid: u32 },
    /// One ordinary user's own.
    Personal { uid: u32 },
}

/// Everything that was decided at start.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whose broker.
    pub mode: Mode,
    /// Directory of the sockets; none for a private broker, which serves its standard input.
    pub runtime_dir: Option<OsString>,
    /// Directory of the rules; none: the built-in rule alone.
    pub rules: Option<OsString>,
    /// What the dispatcher must know.
    pub plan: Plan,
    /// Who may what.
    pub policy: Policy,
    /// User id that the auditor takes; none: it keeps the one that it has.
    pub auditor: Option<u32>,
    /// What it must know, for it alone to read; none: there is no auditor.
    pub audit: Option<ByteBuf>,
    /// Whether our executable has a program interpreter.
    pub interpreted: bool,
    /// Whether the client socket is a service manager's.
    pub listens: bool,
    /// Whether a service manager wants to know how the broker is.
    pub notifies: bool,
}

/// What the broker says to the process that reads its configuration: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerToConfiguration {}

impl Settings {
    /// Whether this is root's broker, for all users.
    #[must_use]
    pub fn is_system(&self) -> bool {
        matches!(self.mode, Mode::System { .. })
    }

    /// As root: has the configuration read. With it come, as far as it says so, the executable of fdscand,
    /// the client socket, and the connection to a service manager. The inner error is the status to end
    /// with, of a reader that has said itself what is wrong, or what it was asked.
    ///
    /// # Errors
    /// When the reader cannot be started, or says what it may not.
    pub fn obtain() -> Result<Result<(Self, Vec<OwnedFd>), u8>, String> {
        let (mut child, mut link) =
            spawn::configuration_reader().map_err(|error| error.to_string())?;
        forget_passed();
        let told = link.receive();
        let status = child.wait().map_err(|error| error.to_string())?.code();
        match told {
            Ok((mut settings, descriptors)) => {
                settings.plan.broker_pid = id();
                Ok(Ok((settings, descriptors)))
            }
            Err(ChannelError::Closed) => {
                Ok(Err(status.and_then(|code| code.try_into().ok()).unwrap_or(FAILED)))
            }
            Err(error) => Err(format!("configuration reader: {error}")),
        }
    }
}

impl Message for Settings {
    const TAG: u8 = 0x65;
    const DESCRIPTORS_MAX: usize = 4;

    fn descriptors(&self) -> usize {
        let come = [self.interpreted, self.plan.starts_scanner, self.listens, self.notifies];
        come.into_iter().filter(|comes| *comes).count()
    }

    /// Who must not be root is not, whoever says so.
    fn check(&self) -> Result<(), WireError> {
        let holds = match (self.mode, self.plan.uid) {
            (Mode::System { scanner: (uid, gid), reader_uid, granted_uid }, Some(dispatcher)) => {
                let auditor = self.auditor.unwrap_or(0);
                let ours = BTreeSet::from([reader_uid, granted_uid, dispatcher, auditor]);
                let apart = ours.len() == 4 && ours.iter().all(|uid| OWN_UIDS.contains(uid));
                let scanner = uid != 0 && gid != 0 && uid == self.plan.scanner_uid;
                scanner && apart && !ours.contains(&uid)
            }
            (Mode::Personal { uid }, None) => uid != 0 && uid == self.plan.scanner_uid,
            _ => false,
        };
        holds.then_some(()).ok_or(WireError::Bound("users"))
    }
}

impl Message for BrokerToConfiguration {
    const TAG: u8 = 0x66;
    const DESCRIPTORS_MAX: usize = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(scanner: (u32, u32), reader_uid: u32, dispatcher: Option<u32>) -> Settings {
        let plan = Plan {
            broker_pid: 1,
            uid: dispatcher,
            scanner_uid: scanner.0,
            admin_uid: 0,
            starts_scanner: true,
            watch_rules: false,
            workers: 2,
            log_level: 3,
        };
        let mode = Mode::System { scanner, reader_uid, granted_uid: 65_529 };
        let (policy, auditor) = (Policy::default(), dispatcher.and(Some(65_528)));
        let (runtime_dir, rules, audit, listens, notifies) = (None, None, None, false, false);
        let interpreted = true;
        Settings {
            mode,
            runtime_dir,
            rules,
            plan,
            policy,
            auditor,
            audit,
            interpreted,
            listens,
            notifies,
        }
    }

    #[test]
    fn nobody_who_must_not_be_root_is_root_whoever_says_so() {
        let nobody = (65_534, 65_534);
        assert_eq!(settings(nobody, 65_531, Some(65_530)).check(), Ok(()));
        let refused = [
            settings((0, 65_534), 65_531, Some(65_530)),
            settings((65_534, 0), 65_531, Some(65_530)),
            settings(nobody, 0, Some(65_530)),
            settings(nobody, 1000, Some(65_530)),
            settings(nobody, 65_531, Some(0)),
            settings(nobody, 65_531, Some(65_531)),
            settings((65_531, 65_531), 65_531, Some(65_530)),
            settings(nobody, 65_531, None),
        ];
        for settings in refused {
            assert_eq!(settings.check(), Err(WireError::Bound("users")), "{settings:?}");
        }
        for granted in [0, 1000, 65_530, 65_531, 65_532] {
            let mut other = settings(nobody, 65_531, Some(65_530));
            other.mode = Mode::System { scanner: nobody, reader_uid: 65_531, granted_uid: granted };
            assert!(other.check().is_err(), "{granted}");
        }
        assert!(settings((65_529, 65_534), 65_531, Some(65_530)).check().is_err());
        let mut other = settings(nobody, 65_531, Some(65_530));
        other.plan.scanner_uid = 0;
        assert!(other.check().is_err());
        for auditor in [None, Some(0), Some(1000), Some(65_530), Some(65_531)] {
            let mut other = settings(nobody, 65_531, Some(65_530));
            other.auditor = auditor;
            assert!(other.check().is_err(), "{auditor:?}");
        }
        let mut own = settings((1000, 1000), 65_531, None);
        own.mode = Mode::Personal { uid: 1000 };
        assert_eq!(own.check(), Ok(()));
        own.mode = Mode::Personal { uid: 0 };
        assert!(own.check().is_err());
    }
}
