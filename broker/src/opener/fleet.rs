//! The workers lent to this opener, and what each of them has in hand.
//!
//! Runs in the opener. A worker is believed only about files that were passed to it, in the order in
//! which they were passed, once each, and only in rule numbers that exist; one that says anything
//! else is discarded and its files go to another.

mod load;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Answer, EXIT_WITHOUT_ROOM, Evidence, Examined, Finding, Job, OpenerToWorker, Wanted,
    WorkerToOpener,
};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::rule_table::RuleTable;

use super::batch::{Batch, Pending};
use super::evidence::{self, Entries};
use super::pace::{self, Pace};
pub use load::{FIRST_BATCH_FILES, choose, portion};

/// How often a worker may be taken away from one file through no fault of the file.
const INTERRUPTIONS_MAX: u8 = 3;

/// `MAX_ERRNO` of the kernel.
const ERRNO_MAX: i32 = 4095;

/// The rules that a worker has loaded.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Names them.
    pub id: GenerationId,
    /// How many.
    pub rules: u32,
    /// Whether jobs must carry names.
    pub wants_names: bool,
    /// Their names.
    pub table: Rc<RuleTable>,
    /// What they say of themselves.
    pub entries: Rc<Entries>,
}

/// One lent worker.
pub struct Worker {
    /// Names the lease.
    pub lease: u32,
    /// What it has loaded.
    pub generation: Generation,
    channel: Channel<OpenerToWorker, WorkerToOpener>,
    state: State,
    /// Whether it has said that it is sealed, tested and has the announced rules.
    announced: bool,
    discarded: bool,
    in_hand: VecDeque<(u32, Pending)>,
    /// Files of each message that is not fully answered, oldest first.
    batches: VecDeque<usize>,
    bytes: u64,
    next_job: u32,
    /// What is wanted, besides verdicts, of the files in hand: all are of one scan.
    wanted: Wanted,
    /// Whether it has answered anything.
    used: bool,
    /// When it last answered or got something after having nothing.
    since: Instant,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Takes batches.
    Serving,
    /// Wanted back; finishes what it has.
    Recalled,
    /// Not used any more; the dispatcher will say what became of it.
    Lost(Why),
}

/// Why a worker is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It kept one file beyond the deadline.
    Overran,
    /// It said what it may not.
    Misbehaved,
    /// Its connection has ended; what ended it is for the dispatcher to say.
    Closed,
}

/// What a worker says of a file that it had in hand.
pub struct Heard {
    /// The file.
    pub pending: Pending,
    /// What it found.
    pub answer: Answer,
    /// What it tells besides; nothing, if nothing was wanted.
    pub evidence: Evidence,
}

/// What became of a file that a lost worker had in hand.
pub enum Leftover {
    /// To be tried again.
    Again(Pending),
    /// It cost a worker that it had to itself, or kept one until it was taken away too often.
    Blamed(Pending, Blame),
}

/// What a file is blamed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The worker ended: the signal, 0 if unknown.
    Crashed(i32),
    /// The worker did not finish in time.
    Overran,
    /// The worker said what it may not. What ended it then was we, or is not to be believed either.
    Misbehaved,
}

impl Worker {
    /// Takes a worker that the broker lends.
    ///
    /// # Errors
    /// The descriptor is no connection.
    pub fn adopt(lease: u32, connection: OwnedFd, generation: Generation) -> std::io::Result<Self> {
        let channel = Channel::adopt(connection)?;
        channel.set_nonblocking(true)?;
        Ok(Self {
            lease,
            generation,
            channel,
            state: State::Serving,
            announced: false,
            discarded: false,
            in_hand: VecDeque::new(),
            batches: VecDeque::new(),
            bytes: 0,
            next_job: 0,
            wanted: Wanted::default(),
            used: false,
            since: Instant::now(),
            pace: Pace::default(),
        })
    }

    /// Descriptor to poll, unless the worker is lost.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!matches!(self.state, State::Lost(_))).then(|| self.channel.as_fd())
    }

    /// Whether it has nothing in hand.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_hand.is_empty()
    }

    /// How many files it has in hand.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        self.in_hand.len()
    }

    /// Whether it could take a first batch at once.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.is_idle() && self.state == State::Serving
    }

    /// Whether it has answered anything.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Whether it was recalled and has answered everything.
    #[must_use]
    pub fn is_returnable(&self) -> bool {
        self.state == State::Recalled && self.is_idle()
    }

    /// No more batches for this one.
    pub fn recall(&mut self) {
        if self.state == State::Serving {
            self.state = State::Recalled;
        }
    }

    /// When its deadline is over, given the time that one file may take.
    #[must_use]
    pub fn deadline(&self, per_file: Duration) -> Option<Instant> {
        let waiting = !self.is_idle() && !matches!(self.state, State::Lost(_));
        waiting.then(|| self.since.checked_add(per_file)).flatten()
    }

    /// Not to be used any more.
    pub fn give_up(&mut self, why: Why) {
        if !matches!(self.state, State::Lost(_)) {
            self.state = State::Lost(why);
        }
    }

    /// Passes a batch, of which this is wanted. What could not be sent comes back.
    pub fn pass(&mut self, batch: Batch, bytes_max: u64, wanted: Wanted) -> Option<Batch> {
        let jobs = batch
            .files
            .iter()
            .enumerate()
            .map(|(index, pending)| Job {
                id: self.next_job.wrapping_add(u32::try_from(index).unwrap_or(0)),
                stamp: pending.file.stamp(),
                bytes_max,
                name: self.generation.wants_names.then(|| pending.name().into()),
            })
            .collect();
        let files: Vec<BorrowedFd<'_>> =
            batch.files.iter().map(|pending| pending.file.as_fd()).collect();
        let message = if wanted.is_any() {
            OpenerToWorker::Examine(wanted, jobs)
        } else {
            OpenerToWorker::Scan(jobs)
        };
        match self.channel.send(&message, &files) {
            Ok(()) => {}
            Err(ChannelError::WouldBlock) => return Some(batch),
            Err(_) => {
                self.give_up(Why::Closed);
                return Some(batch);
            }
        }
        if self.is_idle() {
            self.since = Instant::now();
        }
        self.wanted = wanted;
        self.batches.push_back(batch.files.len());
        for pending in batch.files {
            self.bytes = self.bytes.saturating_add(pending.size());
            self.in_hand.push_back((self.next_job, pending));
            self.next_job = self.next_job.wrapping_add(1);
        }
        None
    }

    /// Reads what the worker says: answered files with their answers. What was answered before it
    /// went, or said what it may not, stands.
    pub fn hear(&mut self) -> Vec<Heard> {
        let mut answered = Vec::new();
        let busy_since = self.since;
        while !matches!(self.state, State::Lost(_)) {
            match (self.channel.receive().map(|(message, _)| message), self.announced) {
                (Ok(WorkerToOpener::Ready(id)), false) if id == self.generation.id => {
                    self.announced = true;
                }
                (Ok(WorkerToOpener::Answers(answers)), true) if !self.wanted.is_any() => {
                    let plain = |answer| Examined { answer, evidence: Evidence::default() };
                    self.take(answers.into_iter().map(plain), &mut answered);
                }
                (Ok(WorkerToOpener::Examined(answers)), true) if self.wanted.is_any() => {
                    self.take(answers.into_iter(), &mut answered);
                }
                (Ok(_), _) => self.give_up(Why::Misbehaved),
                (Err(ChannelError::WouldBlock), _) => break,
                (Err(ChannelError::Closed), _) => self.give_up(Why::Closed),
                (Err(_), _) => self.give_up(Why::Misbehaved),
            }
        }
        let bytes =
            answered.iter().fold(0_u64, |sum, heard| sum.saturating_add(heard.pending.size()));
        self.pace.took(pace::work(answered.len(), bytes), busy_since.elapsed());
        answered
    }

    fn take(&mut self, answers: impl Iterator<Item = Examined>, answered: &mut Vec<Heard>) {
        self.since = Instant::now();
        for examined in answers {
            let id = examined.answer.id;
            let next = self.in_hand.front().filter(|(next, _)| *next == id);
            let Some(size) = next.map(|(_, pending)| pending.size()) else {
                return self.give_up(Why::Misbehaved);
            };
            let Some(Examined { answer, evidence }) = self.vet(examined, size) else {
                return self.give_up(Why::Misbehaved);
            };
            self.used = true;
            if let Some((_, pending)) = self.in_hand.pop_front() {
                self.bytes = self.bytes.saturating_sub(size);
                answered.push(Heard { pending, answer, evidence });
            }
            if let Some(front) = self.batches.front_mut() {
                *front = front.saturating_sub(1);
                if *front == 0 {
                    self.batches.pop_front();
                }
            }
        }
    }

    /// An answer that may be believed: all its rules exist, and so does what else it tells. A number that cannot be
    /// true could carry anything.
    fn vet(&self, examined: Examined, size: u64) -> Option<Examined> {
        let exists = |rule: &u32| self.generation.table.name(*rule).is_some();
        match &examined.answer.finding {
            // One byte more is asked for than there should be.
            _ if examined.answer.read > size.saturating_add(1) => None,
            Finding::ReadError(errno) if !(1..=ERRNO_MAX).contains(errno) => None,
            Finding::Match(rules) if !rules.iter().all(exists) => None,
            _ if !self.wanted.is_any() => Some(examined),
            _ => evidence::vet(examined, self.wanted, size, &self.generation.entries),
        }
    }

    /// Whether the broker has yet to be told that this worker is of no use; true once.
    pub fn to_be_discarded(&mut self) -> bool {
        matches!(self.state, State::Lost(_)) && !std::mem::replace(&mut self.discarded, true)
    }

    /// The broker has said what became of this worker: what becomes of its files.
    pub fn leftovers(mut self, cause: LossCause) -> Vec<Leftover> {
        let blame = match (self.state, cause) {
            (State::Lost(Why::Overran), _) => Some(Blame::Overran),
            (State::Lost(Why::Misbehaved), _) => Some(Blame::Misbehaved),
            // Others took the room that its descriptors need.
            (_, LossCause::Exit(status)) if status == i32::from(EXIT_WITHOUT_ROOM) => None,
            (_, LossCause::Signal(signal)) => Some(Blame::Crashed(signal)),
            (_, LossCause::Exit(_) | LossCause::Unknown) => Some(Blame::Crashed(0)),
            (_, LossCause::Killed) => None,
        };
        // A file that the worker had alone needs no second try to be found out. Each costs another
        // worker for as long as it hangs in the kernel, if the file's server does not answer.
        let alone = self.in_hand.len() == 1;
        let mut leftovers: Vec<Leftover> = self
            .in_hand
            .drain(..)
            .map(|(_, mut pending)| match blame {
                None if pending.interruptions >= INTERRUPTIONS_MAX => {
                    Leftover::Blamed(pending, Blame::Overran)
                }
                None => {
                    pending.interruptions = pending.interruptions.saturating_add(1);
                    Leftover::Again(pending)
                }
                Some(Blame::Overran) if alone => Leftover::Blamed(pending, Blame::Overran),
                Some(_) if !pending.suspect => {
                    pending.suspect = true;
                    Leftover::Again(pending)
                }
                // One that was answered before may have ended it, a moment later.
                Some(_) if self.used && !pending.doubted => {
                    pending.doubted = true;
                    Leftover::Again(pending)
                }
                Some(blame) => Leftover::Blamed(pending, blame),
            })
            .collect();
        // They are put back at the front of the queue one by one.
        leftovers.reverse();
        leftovers
    }
}
