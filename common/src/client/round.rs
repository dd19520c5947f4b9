//! One `Start` … `Done` on the wire, seen from the client: its targets, its counts, its order.
//!
//! Runs in the user's process and checks everything that the opener says against what was asked. A
//! list of a million targets becomes several rounds, so that names are kept for one round only.

use super::error::ClientError;
use super::event::Report;
use super::target::join;
use crate::client_link::Report as WireReport;
use crate::totals::Totals;

/// Most targets of one round, and most bytes of their names.
const ROUND_TARGETS_MAX: usize = 32 * 1024;
const ROUND_NAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is known of the round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Position among all targets and name, by the id used in this round.
    targets: Vec<(u64, Box<[u8]>)>,
    name_bytes: usize,
    omit_clean: bool,
    /// All reports so far, as the opener should have counted them.
    reported: Totals,
    accepted: bool,
    /// Whether all its targets have been taken and `End` is said.
    pub(super) ended: bool,
}

impl Round {
    pub(super) fn new(omit_clean: bool) -> Self {
        Self { omit_clean, ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.targets.len() >= ROUND_TARGETS_MAX || self.name_bytes >= ROUND_NAME_BYTES_MAX
    }

    /// Notes a target and gives it its id.
    pub(super) fn add(&mut self, position: u64, name: &[u8]) -> Result<u32, ClientError> {
        let id = u32::try_from(self.targets.len())
            .map_err(|_| ClientError::protocol("too many targets"))?;
        self.name_bytes = self.name_bytes.saturating_add(name.len());
        self.targets.push((position, name.into()));
        Ok(id)
    }

    /// Notes that the opener has begun.
    pub(super) fn accept(&mut self) {
        self.accepted = true;
    }

    /// Checks and counts a report and gives it its path.
    pub(super) fn report(&mut self, wire: WireReport) -> Result<Report, ClientError> {
        let known = usize::try_from(wire.target).ok().and_then(|id| self.targets.get(id));
        let Some((position, name)) = known else {
            return Err(ClientError::protocol("report about an unknown target"));
        };
        if !self.accepted {
            return Err(ClientError::protocol("report before the scan was accepted"));
        }
        self.reported.add(&wire.outcome, 0);
        Ok(Report {
            target: *position,
            path: join(name, &wire.path),
            size: wire.size,
            outcome: wire.outcome,
        })
    }

    /// What was counted of reports.
    pub(super) fn reported(&self) -> Totals {
        self.reported
    }

    /// Accepts the end if it comes in its place and agrees with the reports.
    pub(super) fn done(&self, totals: &Totals) -> Result<(), ClientError> {
        if !self.accepted || !self.ended {
            return Err(ClientError::protocol("done before everything was asked"));
        }
        let mut expected = self.reported;
        expected.bytes = totals.bytes;
        if self.omit_clean {
            expected.clean = totals.clean;
        }
        if expected != *totals {
            return Err(ClientError::protocol("totals and reports differ"));
        }
        Ok(())
    }
}
