//! What there is when nothing goes on; it must be the same each time.

use std::fmt;
use std::time::Duration;

use super::Soak;
use crate::proc::{self, Entry};
use crate::{Caller, poll_until};

/// How long it may take until everything is as it was.
const SETTLE: Duration = Duration::from_secs(60);

/// Memory may differ by so much, in KiB: allocators keep what they had.
const MEMORY_KIB: u64 = 2048;

/// Processes of which there is a known number, by name.
const KINDS: [&str; 6] =
    ["fdbroker", "fdb-dispatcher", "fdb-auditor", "fdscand", "fdscand-templat", "fdscand-worker"];

/// Counts of everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Of each of [`KINDS`].
    processes: [usize; 6],
    /// The most that a process of each kind has, not counting what broker, dispatcher and auditor have for
    /// each opener; at last, that of openers.
    descriptors: [usize; 7],
    /// Of broker, dispatcher, auditor and supervisor, without what is mapped from files.
    memory_kib: [u64; 4],
    zombies: usize,
    /// Entries of the runtime directory.
    sockets: usize,
}

impl Rest {
    /// At least what there was in either.
    #[must_use]
    pub fn most(mut self, other: &Self) -> Self {
        let processes = self.processes.iter_mut().zip(other.processes);
        processes.for_each(|(ours, theirs)| *ours = (*ours).max(theirs));
        let descriptors = self.descriptors.iter_mut().zip(other.descriptors);
        descriptors.for_each(|(ours, theirs)| *ours = (*ours).max(theirs));
        let memory = self.memory_kib.iter_mut().zip(other.memory_kib);
        memory.for_each(|(ours, theirs)| *ours = (*ours).max(theirs));
        self.zombies = self.zombies.max(other.zombies);
        self.sockets = self.sockets.max(other.sockets);
        self
    }

    /// The same with the memory of a later look: a base for what follows the first load.
    #[must_use]
    pub fn with_memory_of(mut self, later: &Self) -> Self {
        self.memory_kib = later.memory_kib;
        self
    }

    /// The same, whatever memory there is.
    #[must_use]
    pub fn with_any_memory(mut self) -> Self {
        self.memory_kib = [u64::MAX / 2; 4];
        self
    }

    /// Whether it is no more than the base, within the bound for memory.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        let mut room = *base;
        room.memory_kib = base.memory_kib.map(|kib| kib + MEMORY_KIB);
        self.most(&room) == room && self.processes == base.processes
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, descriptors, memory_kib, zombies, sockets } = self;
        write!(
            out,
            "processes {processes:?}, descriptors {descriptors:?}, memory {memory_kib:?} KiB, \
             zombies {zombies}, sockets {sockets}"
        )
    }
}

impl Soak {
    /// All processes of broker and scanner.
    #[must_use]
    pub fn processes(&self) -> Vec<Entry> {
        let scanner = self.scanner.iter().flat_map(|scanner| proc::group(scanner.pid()));
        self.env.processes().into_iter().chain(scanner).collect()
    }

    /// Waits until nothing goes on, and no more is there than in `base` if that is given.
    ///
    /// # Errors
    /// What does not settle.
    pub fn rest(&self, base: Option<&Rest>) -> Result<Rest, String> {
        let mut last = None;
        let settled = poll_until("rest", SETTLE, || {
            let rest = self.look()?;
            last = Some(rest);
            base.is_none_or(|base| rest.is_within(base)).then_some(rest)
        });
        settled.map_err(|error| {
            let pids: Vec<u32> = self.processes().iter().map(|entry| entry.pid).collect();
            let [base, last] = [base.copied(), last]
                .map(|rest| rest.map_or("unknown".into(), |rest| rest.to_string()));
            format!("{error}\nbase: {base}\nnow:  {last}\n{}", proc::describe(&pids))
        })
    }

    fn look(&self) -> Option<Rest> {
        let status = self.env.status();
        let entries = self.processes();
        let pids: Vec<u32> = entries.iter().map(|entry| entry.pid).collect();
        let openers = proc::named(&pids, "fdb-opener");
        let busy = status.openers.iter().any(|opener| opener.busy) || status.workers_lent > 0;
        if busy || status.workers != status.workers_max || openers.len() != status.openers.len() {
            return None;
        }
        let kinds = KINDS.map(|name| proc::named(&pids, name));
        let most = |pids: &Vec<u32>| pids.iter().map(|pid| proc::descriptor_count(*pid)).max();
        let mut descriptors = [0; 7];
        for (nth, of_kind) in kinds.iter().chain([&openers]).enumerate() {
            let for_openers = if nth < 3 { openers.len() } else { 0 };
            descriptors[nth] = most(of_kind).unwrap_or(0).checked_sub(for_openers)?;
        }
        let memory =
            |nth: usize| proc::status(*kinds.get(nth)?.first()?).map(|of| of.anonymous_kib);
        let sockets = std::fs::read_dir(self.env.runtime()).ok()?.count();
        Some(Rest {
            processes: kinds.each_ref().map(Vec::len),
            descriptors,
            memory_kib: [memory(0)?, memory(1)?, memory(2)?, memory(3)?],
            zombies: entries.iter().filter(|entry| entry.state == 'Z').count(),
            sockets,
        })
    }

    /// All users are served, and right.
    ///
    /// # Errors
    /// Who is not.
    pub fn serves(&mut self) -> Result<(), String> {
        let ping = self.env.ctl(["ping"]);
        if ping.code != Some(0) {
            return Err(format!("ping: {ping}"));
        }
        for uid in [0, 2000] {
            let scan = self.whole_tree(&Caller::user(uid), super::scans::Form::Text);
            self.scans.push(scan);
        }
        Ok(())
    }
}
