//! One `Start` … `Done` on the wire, seen from the client: its targets, its counts, its order.
//!
//! Runs in the user's process and checks everything that the opener says against what was asked. A
//! list of a million targets becomes several rounds, so that names are kept for one round only.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::error::ClientError;
use super::event::Report;
use super::ledger::{Entry, Ledger};
use super::target::{Target, join};
use crate::client_link::Report as WireReport;
use crate::outcome::{Failure, Outcome};
use crate::totals::Totals;

/// Most targets of one round, and most bytes of their names.
const ROUND_TARGETS_MAX: usize = 32 * 1024;
const ROUND_NAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a target is had once more if the round begins again.
#[derive(Debug)]
pub(super) enum Origin {
    /// Its name is its path.
    Path,
    /// The broker finds it by its name.
    Named,
    /// By a duplicate of its descriptor.
    Kept(OwnedFd),
    /// Not at all.
    Gone,
}

/// Name and descriptor, if it has one.
type Again = (Vec<u8>, Option<OwnedFd>);

/// One target of the round; its id is its place in the list.
#[derive(Debug)]
struct Known {
    /// Place among all targets of the scan.
    position: u64,
    name: Box<[u8]>,
    origin: Origin,
    /// How much was told of it.
    told: u64,
    /// A regular file that was judged, and its size: there is no more to come.
    finished: Option<u64>,
}

/// What is known of the round.
#[derive(Debug, Default)]
pub(super) struct Round {
    targets: Vec<Known>,
    name_bytes: usize,
    ledger: Ledger,
    accepted: bool,
    /// Whether all its targets have been taken and `End` is said.
    pub(super) ended: bool,
}

impl Round {
    /// `remembers`: whether it can be begun again.
    pub(super) fn new(omit_clean: bool, remembers: bool) -> Self {
        Self { ledger: Ledger::new(omit_clean, remembers), ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.targets.len() >= ROUND_TARGETS_MAX || self.name_bytes >= ROUND_NAME_BYTES_MAX
    }

    /// Notes a target and gives it its id.
    pub(super) fn add(
        &mut self,
        position: u64,
        name: &[u8],
        origin: Origin,
    ) -> Result<u32, ClientError> {
        let id = u32::try_from(self.targets.len())
            .map_err(|_| ClientError::protocol("too many targets"))?;
        self.name_bytes = self.name_bytes.saturating_add(name.len());
        let name = name.into();
        self.targets.push(Known { position, name, origin, told: 0, finished: None });
        Ok(id)
    }

    /// Notes that the opener has begun.
    pub(super) fn accept(&mut self) {
        self.accepted = true;
    }

    fn known(&mut self, id: u32) -> Option<&mut Known> {
        usize::try_from(id).ok().and_then(|place| self.targets.get_mut(place))
    }

    /// Checks and counts a report and gives it its path; none if it was told in an earlier pass.
    pub(super) fn report(&mut self, wire: WireReport) -> Result<Option<Report>, ClientError> {
        if self.known(wire.target).is_none() {
            return Err(ClientError::protocol("report about an unknown target"));
        }
        if !self.accepted {
            return Err(ClientError::protocol("report before the scan was accepted"));
        }
        let entry = self.ledger.reported(wire.target, &wire.path, &wire.outcome);
        let Some(known) = self.known(wire.target) else {
            return Ok(None);
        };
        let judged = matches!(wire.outcome, Outcome::Clean | Outcome::Match { .. });
        if judged && wire.path.is_empty() {
            known.finished = Some(wire.size);
        }
        known.told = known.told.saturating_add(u64::from(entry == Entry::New));
        if entry == Entry::Old {
            return Ok(None);
        }
        Ok(Some(Report {
            target: known.position,
            path: join(&known.name, &wire.path),
            size: wire.size,
            outcome: wire.outcome,
            details: None,
        }))
    }

    /// What was told, each file once.
    pub(super) fn told(&self) -> Totals {
        self.ledger.told()
    }

    /// The most that was counted so far, and whether that is more than before.
    pub(super) fn progress(&mut self, pass: &Totals) -> (Totals, bool) {
        self.ledger.progress(pass)
    }

    /// Accepts the end if it comes in its place and agrees with the reports: the counts of the round.
    pub(super) fn done(&self, totals: &Totals) -> Result<Totals, ClientError> {
        if !self.accepted || !self.ended {
            return Err(ClientError::protocol("done before everything was asked"));
        }
        self.ledger.finish(totals).ok_or(ClientError::protocol("totals and reports differ"))
    }

    /// Begins again: the ids of the targets that are to be handed over once more.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(super) fn rewind(&mut self) -> Result<VecDeque<u32>, &'static str> {
        if !self.ledger.remembers() {
            return Err("too many files were told to remember them all");
        }
        let (mut again, mut told, mut carried) = (VecDeque::new(), 0_u64, 0_u64);
        for (id, known) in (0..).zip(&self.targets) {
            match (known.finished, &known.origin) {
                (Some(size), _) => carried = carried.saturating_add(size),
                (None, Origin::Gone) => {
                    return Err("too many targets were given by descriptor");
                }
                (None, _) => {
                    told = told.saturating_add(known.told);
                    again.push_back(id);
                }
            }
        }
        (self.accepted, self.ended) = (false, false);
        self.ledger.begin_again(told, carried);
        Ok(again)
    }

    /// Opens a target once more. If that fails it is reported, unless it was.
    pub(super) fn reopen(&mut self, id: u32) -> Result<Again, Option<Report>> {
        let Some(known) = self.known(id) else {
            return Err(None);
        };
        let name = known.name.to_vec();
        let opened = match &known.origin {
            Origin::Path => Target::open(Path::new(OsStr::from_bytes(&name))).into_parts().1,
            Origin::Named => Ok(None),
            Origin::Kept(descriptor) => descriptor.try_clone().map(Some).map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Outcome::Error(Failure::System(errno.raw_os_error()))
            }),
            Origin::Gone => Err(Outcome::Error(Failure::System(Errno::BADF.raw_os_error()))),
        };
        let outcome = match opened {
            Ok(descriptor) => return Ok((name, descriptor)),
            Err(outcome) => outcome,
        };
        let (position, told) = (known.position, known.told);
        known.finished = Some(0);
        self.ledger.forgo(told);
        let tells = self.ledger.note(id, &[], &outcome) != Entry::Old;
        Err(tells.then(|| Report {
            target: position,
            path: join(&name, &[]),
            size: 0,
            outcome,
            details: None,
        }))
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
