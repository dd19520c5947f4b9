//! Which worker gets the next batch, and how large that is.
//!
//! Runs in the opener. One worker that keeps up is left to itself: another one would only take a
//! processor from the opener, and for a few files each nobody is woken who has enough to do. Where it does
//! not keep up, all work, each on as little as any other.

use std::time::Duration;

use fdbroker_common::limits::{BATCH_BYTES_MAX, BATCH_FILES_MAX, BATCHES_IN_FLIGHT_MAX};

use super::{State, Worker};
use crate::opener::pace;

/// One that gets to its next batch so soon keeps up.
const SOON: Duration = Duration::from_millis(2);
/// One that has something in hand and has said nothing for so long keeps up no more.
const LATE: Duration = Duration::from_millis(10);
/// One that keeps up is not woken for few files before it has had nothing to do for so long.
const LULL: Duration = Duration::from_micros(500);
/// Batches that one may have in hand that does not keep up, or of which nobody knows yet.
const BATCHES_OF_SLOW_MAX: usize = 2;
/// Files in hand with which another batch is still passed: as many wait, should it come to one that takes long.
const FILES_BEFORE_BATCH_MAX: usize = BATCH_FILES_MAX;
/// An idle worker gets this many files rather than waiting for a whole batch.
pub const FIRST_BATCH_FILES: usize = 16;

/// What a worker is about when files wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has something in hand.
    Busy,
    /// It has nothing to do, and nobody knows that it keeps up.
    Idle,
    /// It keeps up, and has had nothing to do for a moment.
    Resting,
    /// The same for longer.
    Hungry,
}

/// The worker for the next batch: the one with the least to do. With time to spare, the first one
/// that keeps up, and none while that one has enough.
pub fn choose(workers: &mut [Worker], time_to_spare: bool) -> Option<&mut Worker> {
    if time_to_spare && let Some(index) = workers.iter().position(Worker::is_prompt) {
        return workers.get_mut(index).filter(|worker| worker.load().is_some());
    }
    workers
        .iter_mut()
        .filter_map(|worker| Some((worker.load()?, worker)))
        .min_by_key(|(load, _)| *load)
        .map(|(_, worker)| worker)
}

/// How many of the files that wait it gets now. Everything, unless more will be opened at once.
#[must_use]
pub fn portion(standing: Standing, waiting: usize, opens_more: bool) -> Option<usize> {
    match standing {
        Standing::Idle => Some(FIRST_BATCH_FILES),
        Standing::Hungry => Some(BATCH_FILES_MAX),
        Standing::Busy | Standing::Resting => {
            (!opens_more || waiting >= BATCH_FILES_MAX).then_some(BATCH_FILES_MAX)
        }
    }
}

impl Worker {
    /// Work in hand if it can take another batch; a suspect, or much to read, keeps others away.
    #[must_use]
    pub fn load(&self) -> Option<u64> {
        let most = if self.is_prompt() { BATCHES_IN_FLIGHT_MAX } else { BATCHES_OF_SLOW_MAX };
        let open = self.state == State::Serving
            && self.batches.len() < most
            && self.in_hand.len() <= FILES_BEFORE_BATCH_MAX
            && self.bytes <= BATCH_BYTES_MAX
            && !self.in_hand.iter().any(|(_, pending)| pending.is_alone());
        open.then(|| pace::work(self.in_hand.len(), self.bytes))
    }

    /// Whether it is known to get to another batch soon.
    #[must_use]
    pub fn is_prompt(&self) -> bool {
        let files = self.in_hand.len().max(FIRST_BATCH_FILES);
        let time = self.pace.time_for(pace::work(files, self.bytes));
        // One that was fast may have come to a file that takes long.
        let is_late = !self.is_idle() && self.since.elapsed() > LATE;
        self.state == State::Serving && !is_late && time.is_some_and(|time| time < SOON)
    }

    /// Whether it may turn out to be all that is needed: it keeps up, or has only just begun.
    #[must_use]
    pub fn may_keep_up(&self) -> bool {
        let unknown = self.pace.time_for(0).is_none();
        self.is_prompt() || (unknown && !self.is_idle() && self.since.elapsed() < SOON)
    }

    /// What it is about.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.is_free(), self.is_prompt()) {
            (false, _) => Standing::Busy,
            (true, false) => Standing::Idle,
            (true, true) if self.since.elapsed() < LULL => Standing::Resting,
            (true, true) => Standing::Hungry,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::rc::Rc;
    use std::time::Instant;

    use fdbroker_common::channel::Channel;
    use fdbroker_common::generation::GenerationId;
    use fdbroker_common::job_link::{
        Answer, Finding, OpenerToWorker, Wanted, WorkerToOpener as Said,
    };
    use fdbroker_common::rule_table::RuleTable;

    use super::*;
    use crate::opener::batch::{Batch, Pending};
    use crate::opener::evidence::Entries;
    use crate::opener::fleet::Generation;
    use crate::opener::open::{Designated, OpenContext, open_target};
    use crate::opener::pace::Pace;

    type Peer = Channel<Said, OpenerToWorker>;

    const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

    fn worker() -> (Worker, Peer) {
        let (peer, ours) = Peer::pair().unwrap();
        let id = GenerationId([7; 16]);
        let table = Rc::new(RuleTable::decode(&RuleTable::encode([]).unwrap()).unwrap());
        let entries = Rc::new(Entries::default());
        let generation = Generation { id, rules: 0, wants_names: false, table, entries };
        let worker = Worker::adopt(1, ours, generation).unwrap();
        (worker, peer)
    }

    fn pass(worker: &mut Worker, files: usize) {
        let context = OpenContext::new().unwrap();
        let open = || open_target(File::open(SMALL).unwrap().into(), &context);
        let file = || match open() {
            Designated::File(file) => file,
            other => panic!("{other:?}"),
        };
        let pending = || Pending {
            target: 1,
            path: Vec::new(),
            target_name: Rc::new([]),
            file: file(),
            suspect: false,
            doubted: false,
            interruptions: 0,
        };
        let batch = Batch { files: (0..files).map(|_| pending()).collect() };
        assert!(worker.pass(batch, 1 << 20, Wanted::default()).is_none());
    }

    /// For the next minute.
    fn just_now() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn answer(peer: &mut Peer) {
        let jobs = peer.receive().unwrap().0;
        let clean = |id| Answer { id, read: 0, finding: Finding::Clean };
        let answers = jobs.jobs().iter().map(|job| clean(job.id)).collect();
        peer.send(&Said::Answers(answers), &[]).unwrap();
    }

    #[test]
    fn one_that_answers_soon_is_all_that_is_needed_until_it_is_late() {
        let (mut worker, mut peer) = worker();
        assert_eq!((worker.standing(), worker.is_prompt()), (Standing::Idle, false));
        pass(&mut worker, 16);
        // Whatever this machine is busy with meanwhile.
        worker.since = just_now();
        assert!(worker.may_keep_up() && !worker.is_prompt(), "it has only just begun");
        worker.since = Instant::now() - SOON;
        assert!(!worker.may_keep_up(), "it takes long");
        peer.send(&Said::Ready(worker.generation.id), &[]).unwrap();
        answer(&mut peer);
        assert_eq!(worker.hear().len(), 16);
        worker.since = just_now();
        worker.pace = Pace::default();
        worker.pace.took(pace::work(16, 0), Duration::from_secs(1));
        assert_eq!(worker.standing(), Standing::Idle, "slow as it is, it gets little");
        worker.pace = Pace::default();
        worker.pace.took(pace::work(16, 0), Duration::from_micros(80));
        assert!(worker.is_prompt());
        assert_eq!(worker.standing(), Standing::Resting);
        for _ in 0..BATCHES_IN_FLIGHT_MAX {
            assert!(worker.load().is_some());
            pass(&mut worker, 1);
            worker.since = just_now();
        }
        assert!(worker.is_prompt() && worker.load().is_none(), "it has enough");
        worker.since = Instant::now() - LATE * 2;
        assert!(!worker.is_prompt() && !worker.may_keep_up(), "it is late");
        let mut workers = [worker, super::tests::worker().0];
        let chosen = |workers: &mut [Worker], spare| {
            let first: *const Worker = workers.as_ptr();
            choose(workers, spare).map(|worker| std::ptr::eq(worker, first))
        };
        assert_eq!(chosen(&mut workers, true), Some(false), "the other one is free");
        workers[0].since = just_now();
        assert_eq!(chosen(&mut workers, true), None, "nobody but the first, which has enough");
        assert_eq!(chosen(&mut workers, false), Some(false), "there is no time to spare");
    }

    #[test]
    fn nobody_has_more_than_two_whole_batches_in_hand() {
        let (mut worker, _peer) = worker();
        worker.pace.took(pace::work(1, 0), Duration::from_nanos(1));
        for _ in 0..2 {
            assert!(worker.load().is_some());
            pass(&mut worker, BATCH_FILES_MAX);
            worker.since = just_now();
        }
        assert!(worker.is_prompt() && worker.load().is_none());
    }

    const ALL: [Standing; 4] =
        [Standing::Busy, Standing::Idle, Standing::Resting, Standing::Hungry];

    #[test]
    fn when_no_more_is_opened_nothing_waits_for_more() {
        for standing in ALL {
            assert!(portion(standing, 1, false).is_some(), "{standing:?}");
        }
    }

    #[test]
    fn few_files_wait_only_for_one_that_has_something_or_has_just_had() {
        let given = ALL.map(|standing| portion(standing, BATCH_FILES_MAX - 1, true));
        assert_eq!(given, [None, Some(FIRST_BATCH_FILES), None, Some(BATCH_FILES_MAX)]);
        assert!(ALL.iter().all(|standing| portion(*standing, BATCH_FILES_MAX, true).is_some()));
    }
}
