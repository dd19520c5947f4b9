//! Records on their way out: numbered, within each user's quota, kept for a while when they cannot be written.
//!
//! Nothing is lost in silence. What is suppressed, and what could not be kept, is counted and recorded
//! as soon as that is possible; until then standard error is told. Scans go on meanwhile.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

use log::error;

use super::quota::{Class, Passage, Quota, WINDOW};
use super::record::{Record, Value};
use super::sink::Sink;
use super::time::rfc3339;
use crate::auditor::plan::{AuditFiles as Files, AuditFormat as Format};

/// What waits to be written at most.
const WAITING_RECORDS_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// How often it is tried again to write.
const RETRY: Duration = Duration::from_secs(1);

/// How often standard error is told.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The way out.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    format: Format,
    quota: Quota,
    next: u64,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Records that could not be kept.
    lost: u64,
    retry_at: Option<Instant>,
    /// Whether the destination has no room because nobody reads it.
    blocked: bool,
    complained: Option<Instant>,
}

impl Writer {
    /// To this destination.
    #[must_use]
    pub fn new(sink: Sink, format: Format, files: Files) -> Self {
        Self {
            sink,
            format,
            quota: Quota::new(files),
            next: 1,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost: 0,
            retry_at: None,
            blocked: false,
            complained: None,
        }
    }

    /// Where records go, for people.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.sink.word()
    }

    /// Writes a record that a user has caused, within that user's quota. Beyond, it is not even made.
    pub fn write_of(&mut self, uid: u32, class: Class, record: impl FnOnce() -> Record) {
        let now = Instant::now();
        let Self { sink, format, next, quota, .. } = self;
        match quota.count((uid, class), now, || render(sink, *format, *next, &record())) {
            Passage::Written(bytes) => self.push(bytes, now),
            Passage::FirstSuppressed => {
                let record = Record::of("suppressing").warning().with("uid", uid);
                let record = record.with("class", class.word());
                self.write(&record.with("seconds", WINDOW.as_secs()));
            }
            Passage::Suppressed => {}
        }
    }

    /// Writes a record of the auditor's own.
    pub fn write(&mut self, record: &Record) {
        let bytes = render(&self.sink, self.format, self.next, record);
        self.push(bytes, Instant::now());
    }

    fn push(&mut self, bytes: Vec<u8>, now: Instant) {
        self.next = self.next.wrapping_add(1);
        let all = self.waiting_bytes.saturating_add(bytes.len());
        if self.waiting.len() >= WAITING_RECORDS_MAX || all > WAITING_BYTES_MAX {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.waiting_bytes = all;
            self.waiting.push_back(bytes);
        }
        if self.retry_at.is_none_or(|at| at <= now) {
            self.flush(now);
        }
    }

    /// Does what time brings: writes what waits, tells what was suppressed.
    pub fn tick(&mut self, now: Instant, ends: bool) {
        for (uid, class, count) in self.quota.over(now, ends) {
            let record = Record::of("suppressed").warning().with("uid", uid);
            self.write(&record.with("class", class.word()).with("count", count));
        }
        if ends || self.retry_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }

    /// What is to be polled for room, if anything waits for a reader.
    #[must_use]
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.blocked.then(|| self.sink.fd())
    }

    /// There may be room again.
    pub fn resume(&mut self) {
        if self.blocked {
            self.flush(Instant::now());
        }
    }

    /// Whether openers are to wait: a reader is slow, and half of the room for what waits is taken. What
    /// the broker tells has the other half. A disk that takes nothing keeps nobody waiting.
    #[must_use]
    pub fn pushes_back(&self) -> bool {
        let half = self.waiting.len() >= WAITING_RECORDS_MAX / 2
            || self.waiting_bytes >= WAITING_BYTES_MAX / 2;
        self.blocked && half
    }

    /// When that is to be done next.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.quota.next_event()).min()
    }

    fn flush(&mut self, now: Instant) {
        self.retry_at = None;
        self.blocked = false;
        while let Some(front) = self.waiting.front_mut() {
            match self.sink.write(front) {
                Ok(written) if written < front.len() => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(written);
                    front.drain(..written);
                }
                Ok(_) => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(front.len());
                    self.waiting.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.blocked = error.kind() == io::ErrorKind::WouldBlock;
                    self.retry_at = now.checked_add(RETRY);
                    return self.complain(&error, now);
                }
            }
            if self.waiting.is_empty() && self.lost > 0 {
                let count = Value::Number(std::mem::take(&mut self.lost));
                self.write(&Record::of("lost").warning().with("count", count));
            }
        }
        self.complained = None;
    }

    fn complain(&mut self, why: &io::Error, now: Instant) {
        let recent = |at: Instant| now.saturating_duration_since(at) < COMPLAINT;
        if matches!(self.sink, Sink::Stderr(_)) || self.complained.is_some_and(recent) {
            return;
        }
        self.complained = Some(now);
        let (to, waiting, lost) = (self.word(), self.waiting.len(), self.lost);
        error!(
            "audit: the {to} takes no records: {why}; {waiting} wait, {lost} are lost; scans go on, see docs/audit.md"
        );
    }

    /// What was never written, when the auditor ends.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        u64::try_from(self.waiting.len()).unwrap_or(u64::MAX).saturating_add(self.lost)
    }
}

fn render(sink: &Sink, format: Format, number: u64, record: &Record) -> Vec<u8> {
    let time = if record.warns { Record::default().warning() } else { Record::default() };
    let time = time.with("time", rfc3339(SystemTime::now())).with("seq", number);
    sink.render(&time.and(record), format)
}
