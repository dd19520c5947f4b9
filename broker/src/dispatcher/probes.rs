//! Escape probes of workers: made on an administrator's word, outside the pool, one at a time for each.
//!
//! Runs in the dispatcher. A probe is a worker that nobody is ever lent; what it ends with goes to the
//! administrator and counts nowhere.

use std::collections::BTreeMap;
use std::time::Instant;

use fdbroker_common::admin_link::AdminReply;
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::probe::{Act, DEADLINE};
use log::debug;

use super::Dispatcher;
use super::leases::WorkerId;

/// Those that are under way: who asked, and until when it may take.
#[derive(Default)]
pub struct Probes(BTreeMap<WorkerId, (u32, Instant)>);

impl Probes {
    /// Whether one of this template is under way.
    pub fn of_template(&self, template: u32) -> bool {
        self.0.keys().any(|id| id.0 == template)
    }

    /// When the first of them has taken too long.
    pub fn next_event(&self) -> Option<Instant> {
        self.0.values().map(|(_, due)| *due).min()
    }
}

impl Dispatcher {
    /// An administrator wants to know what becomes of an act.
    pub(super) fn probe(&mut self, admin: u32, act: Act) {
        if self.probes.0.values().any(|(other, _)| *other == admin) {
            debug!("admin connection: a second probe at a time");
            return self.drop_admin(admin);
        }
        let current = self.scanner.current;
        let table = current.and_then(|number| self.scanner.loaded(number)?.table.try_clone().ok());
        let due = Instant::now().checked_add(DEADLINE);
        let (Some(template), Some(table), Some(due)) = (current, table, due) else {
            return self.reply(admin, &AdminReply::NotProbed);
        };
        let worker = self.pool.number();
        self.probes.0.insert((template, worker), (admin, due));
        self.scanner.probe(template, worker, act, table);
    }

    /// Answers for a worker that has ended, if it was a probe.
    pub(super) fn probe_ended(&mut self, id: WorkerId, cause: LossCause) -> Option<()> {
        let (admin, _) = self.probes.0.remove(&id)?;
        self.reply(admin, &AdminReply::Probed(cause));
        Some(())
    }

    /// Ends those that take too long.
    pub(super) fn end_late_probes(&mut self, now: Instant) {
        let late = self.probes.0.iter().filter(|(_, (_, due))| *due <= now);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.scanner.kill(id.0, id.1);
            self.probe_ended(id, LossCause::Killed);
        }
    }

    /// Answers for those of a template that is gone.
    pub(super) fn lose_probes(&mut self, template: u32) {
        let lost = self.probes.0.keys().filter(|id| id.0 == template);
        for id in lost.copied().collect::<Vec<_>>() {
            self.probe_ended(id, LossCause::Unknown);
        }
    }
}
