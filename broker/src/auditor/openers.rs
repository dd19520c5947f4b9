//! What openers say, turned into records.
//!
//! Runs in the auditor. An opener works for a stranger: whom its notes are about is the broker's word, their
//! number is bounded, and one that breaks the protocol is heard no more, which is recorded.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;

use super::Auditor;
use super::quota::Class;
use super::record::{Record, Value};
use crate::auditor::plan::AuditFiles;
use crate::record_link::{AuditorToOpener, Ending, Kind, Note, Object, OpenerToAuditor};

/// Connections of an opener of which it has said nothing yet; of older ones only the user is known.
const CONNECTIONS_MAX: usize = 64;

/// The auditor's end of one opener.
#[derive(Debug)]
pub struct Opener {
    channel: Channel<AuditorToOpener, OpenerToAuditor>,
    /// Its process id.
    pub pid: u32,
    /// By what it may what it does.
    pub rule: &'static str,
    /// Connections that it was given: which ones, of whom.
    connections: VecDeque<(u32, u32, Record)>,
    /// Whose they are.
    uid: Option<u32>,
    welcomed: u32,
    /// Of which connection its last scan was.
    begun: u32,
    request: Option<Request>,
}

/// A scan that goes on.
#[derive(Debug)]
struct Request {
    uid: u32,
    /// What all records of it begin with.
    who: Record,
    began: Instant,
}

/// An opener said what it may not.
#[derive(Clone, Copy)]
struct Broken(&'static str);

impl Opener {
    /// Takes a record link and says of which files to tell.
    ///
    /// # Errors
    /// It is no link.
    pub fn adopt(
        link: OwnedFd,
        pid: u32,
        rule: &'static str,
        files: AuditFiles,
    ) -> io::Result<Self> {
        let mut channel = Channel::adopt(link)?;
        channel.set_nonblocking(true)?;
        channel.send(&AuditorToOpener::Tell(files), &[]).map_err(io::Error::other)?;
        let connections = VecDeque::new();
        Ok(Self {
            channel,
            pid,
            rule,
            connections,
            uid: None,
            welcomed: 0,
            begun: 0,
            request: None,
        })
    }

    /// Descriptor to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// The broker has given it a connection.
    pub fn welcome(&mut self, uid: u32, who: Record) {
        self.welcomed = self.welcomed.wrapping_add(1);
        self.uid = Some(uid);
        self.connections.push_back((self.welcomed, uid, who));
        if self.connections.len() > CONNECTIONS_MAX {
            self.connections.pop_front();
        }
    }

    /// A scan for a connection, not for one before an earlier one.
    fn begin(&mut self, connection: u32, number: u64) -> Result<(), Broken> {
        let known = (self.begun.max(1)..=self.welcomed).contains(&connection);
        let user = self.uid.filter(|_| known).ok_or(Broken("an unknown connection"))?;
        if self.request.is_some() {
            return Err(Broken("a scan within a scan"));
        }
        self.begun = connection;
        while self.connections.front().is_some_and(|(nth, ..)| *nth < connection) {
            self.connections.pop_front();
        }
        let front = self.connections.front().filter(|(nth, ..)| *nth == connection);
        // An opener works for one user only.
        let (uid, who) =
            front.map_or_else(|| (user, forgotten(user)), |(_, uid, who)| (*uid, who.clone()));
        let who = who.with("request", number).with("authorization", self.rule);
        self.request = Some(Request { uid, who, began: Instant::now() });
        Ok(())
    }

    /// Whether the broker has told of this connection.
    fn knows(&self, connection: u32) -> bool {
        connection <= self.welcomed
    }
}

impl Auditor {
    /// Hears one message of an opener; whether there may be more.
    pub(super) fn hear_opener(&mut self, number: u32) -> bool {
        let Some(opener) = self.openers.get_mut(&number) else {
            return false;
        };
        let notes = match opener.channel.receive() {
            Ok((OpenerToAuditor::Notes(notes), _)) => notes,
            Err(ChannelError::WouldBlock) => return false,
            Err(ChannelError::Closed) => {
                self.close(number, None);
                return false;
            }
            Err(error) => {
                self.close(number, Some(&error.to_string()));
                return false;
            }
        };
        let heard = notes.into_iter().try_for_each(|note| self.note(number, note));
        if let Err(Broken(what)) = heard {
            self.close(number, Some(what));
        }
        heard.is_ok()
    }

    fn note(&mut self, number: u32, note: Note) -> Result<(), Broken> {
        if let Note::Begin { connection } = note
            && self.openers.get(&number).is_some_and(|opener| !opener.knows(connection))
        {
            // The broker told of it before the opener had it, but maybe after it was heard last.
            self.ended = self.hear_broker().err();
        }
        let opener = self.openers.get_mut(&number).ok_or(Broken("an unknown opener"))?;
        if let Note::Begin { connection } = note {
            self.requests = self.requests.saturating_add(1);
            return opener.begin(connection, self.requests);
        }
        let request = opener.request.as_ref().ok_or(Broken("a note without a scan"))?;
        let class = match &note {
            Note::File { outcome: Outcome::Match { .. }, .. } => Class::Matches,
            Note::File { .. } => Class::Files,
            Note::Begin { .. } | Note::Target(..) | Note::End { .. } => Class::Requests,
        };
        self.writer.write_of(request.uid, class, || match &note {
            Note::Target(object, kind) => target(request, object, *kind),
            Note::End { .. } => end(request, opener.pid, &note),
            Note::Begin { .. } | Note::File { .. } => file(request, &note),
        });
        if matches!(note, Note::End { .. }) {
            opener.request = None;
        }
        Ok(())
    }

    /// An opener has ended, or is heard no more.
    pub(super) fn close(&mut self, number: u32, why: Option<&str>) {
        let Some(mut opener) = self.openers.remove(&number) else {
            return;
        };
        if let Some(why) = why {
            let record = || {
                let record = Record::of("opener.cut").warning().with("uid", opener.uid);
                record.with("opener", opener.pid).with("reason", why)
            };
            self.writer.write_of(opener.uid.unwrap_or(u32::MAX), Class::Requests, record);
        }
        if let Some(request) = opener.request.take() {
            let record = Record::of("request").warning().and(&request.who);
            let record = record.with("opener", opener.pid).with("outcome", "unknown");
            let ms = u64::try_from(request.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let record = record.with("detail", "its opener has ended").with("ms", ms);
            self.writer.write_of(request.uid, Class::Requests, || record);
        }
    }
}

/// Who a connection is of, when more came since than are remembered.
fn forgotten(uid: u32) -> Record {
    let nothing = ["gid", "pid", "exe", "connection"];
    let who = Record::default().with("uid", uid);
    nothing.into_iter().fold(who, |who, name| who.with(name, Value::Null))
}

fn target(request: &Request, object: &Object, kind: Kind) -> Record {
    Record::of("target").and(&request.who).object(object).with("kind", kind.word())
}

fn file(request: &Request, note: &Note) -> Record {
    let record = Record::of("file").and(&request.who);
    let Note::File { object, outcome, unnamed } = note else {
        return record;
    };
    let matched = matches!(outcome, Outcome::Match { .. });
    let record = if matched { record.warning() } else { record };
    record.object(object).outcome(outcome, *unnamed)
}

fn end(request: &Request, pid: u32, note: &Note) -> Record {
    let record = Record::of("request").and(&request.who).with("opener", pid);
    let Note::End { ending, targets, generation, totals } = note else {
        return record;
    };
    let (outcome, detail) = match ending {
        Ending::Done => (summary(totals), None),
        Ending::Aborted => ("aborted", Some("the client has gone".to_owned())),
        Ending::Refused(refusal) => ("refused", Some(format!("{refusal:?}"))),
    };
    let ms = u64::try_from(request.began.elapsed().as_millis()).unwrap_or(u64::MAX);
    record
        .with("outcome", outcome)
        .with("detail", detail)
        .with("targets", *targets)
        .with("generation", *generation)
        .totals(totals)
        .with("ms", ms)
}

/// The word for a whole scan: that of its gravest outcome.
fn summary(totals: &Totals) -> &'static str {
    match totals.exit_code() {
        0 => "clean",
        1 => "match",
        _ => "incomplete",
    }
}
