//! Answers of a worker, gathered into messages.
//!
//! A message goes out when a batch is done, when some time has passed, before a large file, and
//! before it would grow beyond its limits.

use std::time::{Duration, Instant};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::job_link::{
    Answer, Examined, Finding, OpenerToWorker, Wanted, WorkerToOpener,
};
use fdbroker_common::limits::{ANSWERS_PER_MESSAGE_MAX, MATCH_DATA_BYTES_MAX, MESSAGE_BYTES_MAX};

/// A worker's end of its job link.
pub type Link = Channel<WorkerToOpener, OpenerToWorker>;

/// Answers wait no longer than this for more of their kind.
const WAIT_MAX: Duration = Duration::from_millis(10);

/// Most bytes of an answer without its rules, of one rule number, of evidence without its places, of one
/// place, and of a message around them.
const ANSWER_BYTES_MAX: usize = 32;
const RULE_BYTES_MAX: usize = 5;
const EVIDENCE_BYTES_MAX: usize = 40;
const PLACE_BYTES_MAX: usize = 32 + MATCH_DATA_BYTES_MAX;
const FRAME_BYTES_MAX: usize = 16;

/// Answers that are not sent yet.
#[derive(Debug)]
pub struct Outbox {
    answers: Vec<Answer>,
    /// Those of jobs that were to be examined. A message of the opener has jobs of one kind.
    examined: Vec<Examined>,
    bytes: usize,
    sent: Instant,
}

impl Outbox {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self {
            answers: Vec::new(),
            examined: Vec::new(),
            bytes: FRAME_BYTES_MAX,
            sent: Instant::now(),
        }
    }

    /// Adds an answer, and sends what must not wait.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn push(
        &mut self,
        link: &mut Link,
        examined: Examined,
        wanted: Wanted,
    ) -> Result<(), ChannelError> {
        let mut bytes = ANSWER_BYTES_MAX
            + match &examined.answer.finding {
                Finding::Match(rules) => rules.len() * RULE_BYTES_MAX,
                _ => 0,
            };
        if wanted.is_any() {
            bytes += EVIDENCE_BYTES_MAX + examined.evidence.places.len() * PLACE_BYTES_MAX;
        }
        let count = self.answers.len() + self.examined.len();
        if self.bytes + bytes > MESSAGE_BYTES_MAX || count >= ANSWERS_PER_MESSAGE_MAX {
            self.flush(link)?;
        }
        self.bytes += bytes;
        if wanted.is_any() {
            self.examined.push(examined);
        } else {
            self.answers.push(examined.answer);
        }
        if self.sent.elapsed() >= WAIT_MAX {
            self.flush(link)?;
        }
        Ok(())
    }

    /// Sends everything.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn flush(&mut self, link: &mut Link) -> Result<(), ChannelError> {
        if !self.answers.is_empty() {
            let message = WorkerToOpener::Answers(std::mem::take(&mut self.answers));
            link.send(&message, &[])?;
            if let WorkerToOpener::Answers(mut answers) = message {
                answers.clear();
                self.answers = answers;
            }
            self.bytes = FRAME_BYTES_MAX;
        }
        if !self.examined.is_empty() {
            let examined = std::mem::take(&mut self.examined);
            link.send(&WorkerToOpener::Examined(examined), &[])?;
            self.bytes = FRAME_BYTES_MAX;
        }
        self.sent = Instant::now();
        Ok(())
    }

    /// Starts the clock anew: what was not asked for could not be answered.
    pub fn restart_clock(&mut self) {
        self.sent = Instant::now();
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker_common::job_link::{Evidence, Place};
    use fdbroker_common::limits::{
        BATCH_FILES_MAX, MATCHES_PER_FILE_MAX, RULE_PATTERNS_MAX, RULES_PER_FILE_MAX,
    };

    #[test]
    fn no_answers_are_too_large_for_a_message() {
        send_largest(Wanted::default());
        send_largest(Wanted { sha256: true, matches: true, data: true });
    }

    fn largest_evidence() -> Evidence {
        let places = (0..MATCHES_PER_FILE_MAX).map(|nth| Place {
            rule: u32::MAX - 1,
            pattern: u32::try_from(RULE_PATTERNS_MAX).unwrap() - 1,
            offset: u64::MAX - u64::try_from(MATCHES_PER_FILE_MAX - nth).unwrap(),
            length: u64::MAX,
            data: vec![0xff; MATCH_DATA_BYTES_MAX].into(),
        });
        Evidence { sha256: Some([0xff; 32]), places: places.collect(), cut: true }
    }

    fn send_largest(wanted: Wanted) {
        let (mut ours, theirs) = Link::pair().unwrap();
        let mut peer = Channel::<OpenerToWorker, WorkerToOpener>::adopt(theirs).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = 0;
            while got < BATCH_FILES_MAX {
                match peer.receive().unwrap().0 {
                    WorkerToOpener::Answers(answers) => got += answers.len(),
                    WorkerToOpener::Examined(answers) => got += answers.len(),
                    WorkerToOpener::Ready(_) => panic!("no such message was sent"),
                }
            }
        });
        let mut outbox = Outbox::new();
        let rules: Vec<u32> =
            (u32::MAX - u32::try_from(RULES_PER_FILE_MAX).unwrap()..u32::MAX).collect();
        for id in 0..u32::try_from(BATCH_FILES_MAX).unwrap() {
            let answer = Answer {
                id: u32::MAX - id,
                read: u64::MAX,
                finding: Finding::Match(rules.clone()),
            };
            let examined = Examined { answer, evidence: largest_evidence() };
            outbox.push(&mut ours, examined, wanted).unwrap();
        }
        outbox.flush(&mut ours).unwrap();
        reader.join().unwrap();
    }
}
