//! The auditor: records who asked for what, and what came of it.
//!
//! A process with a uid of its own (or an ordinary user's), started once by the broker. Root tells it in
//! numbers who connects and what was decided; openers tell it the rest, and it believes of them nothing
//! about who. It alone formats and writes. It opens nothing once its fence stands; `SYS_PTRACE`, which
//! it holds to learn what executable a caller runs, is of no other use behind that.

pub mod executable;
pub mod format;
pub mod openers;
pub mod plan;
pub mod quota;
pub mod record;
pub mod sink;
pub mod time;
pub mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use caps::{CapSet, Capability};
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::opener_link::Identity;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::stdio::take_channel;
use fdbroker_common::wire::decode;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};

use crate::audit_link::BrokerToAuditor;
use crate::root::privilege;
use crate::root::sanitize::ignore_requests_to_end;
use crate::root::settings::BrokerToConfiguration;
use crate::{confine, log_to_stderr};
use executable::Processes;
use openers::Opener;
use plan::{AuditFiles, AuditPlan};
use quota::Class;
use record::{Record, Value};
use sink::Sink;
use writer::Writer;

/// First argument that selects this role.
pub const ROLE: &str = "--auditor";

/// The auditor's end of the audit link.
type BrokerChannel = Channel<BrokerToConfiguration, BrokerToAuditor>;

/// Messages of the broker that are heard before anything else is done.
const BROKER_MESSAGES_MAX: usize = 4_096;

/// How long an opener is heard that goes on when the broker has gone: longer than its socket is.
const LAST_MESSAGES_MAX: u32 = 2_048;

/// All state of the auditor.
pub struct Auditor {
    broker: BrokerChannel,
    /// How its link ended, if that was found while an opener was heard.
    ended: Option<ChannelError>,
    processes: Processes,
    writer: Writer,
    files: AuditFiles,
    openers: BTreeMap<u32, Opener>,
    connections: u64,
    requests: u64,
}

/// Serves until the broker closes the link.
///
/// # Errors
/// When the destination cannot be opened, the identity not be taken, or the broker breaks the protocol.
pub fn run() -> io::Result<()> {
    ignore_requests_to_end()?;
    // A file that may not grow any more is an error to be told, not an end.
    SigSet::from_iter([Signal::SIGXFSZ]).thread_block()?;
    let mut broker: BrokerChannel = take_channel()?;
    let Ok((BrokerToAuditor::Begin(uid, plan), _)) = broker.receive() else {
        return Err(io::Error::other("the broker broke the protocol"));
    };
    let plan: AuditPlan = decode(&plan).map_err(io::Error::other)?;
    umask(Mode::from_bits_truncate(0o027));
    let owner = nix::unistd::geteuid().as_raw();
    let sink = Sink::open(&plan).map_err(io::Error::other)?;
    let sees_all = take_identity(uid)?;
    sink.judge(&plan, owner).map_err(io::Error::other)?;
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_name(c"fdb-auditor")?;
    let processes = Processes::open()?;
    log_to_stderr(log::LevelFilter::Info as u8);
    broker.set_nonblocking(true)?;
    confine::auditor(processes.number(), sink.file())?;
    let writer = Writer::new(sink, plan.format, plan.files);
    let mut auditor = Auditor {
        broker,
        ended: None,
        processes,
        writer,
        files: plan.files,
        openers: BTreeMap::new(),
        connections: 0,
        requests: 0,
    };
    let to = auditor.writer.word();
    auditor
        .writer
        .write(&Record::of("start").with("to", to).with("exe_of_all", Value::Flag(sees_all)));
    let ended = auditor.serve();
    auditor.end();
    match ended {
        Ok(()) | Err(ChannelError::Closed) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether it may know of all processes what they execute. In a container it may not.
fn take_identity(uid: Option<u32>) -> io::Result<bool> {
    let capability = Capability::CAP_SYS_PTRACE;
    let may = caps::has_cap(None, CapSet::Permitted, capability).map_err(io::Error::other)?;
    match uid {
        Some(uid) if may => privilege::become_holder(uid, capability)?,
        Some(uid) => privilege::become_user(uid, uid, &[])?,
        None if nix::unistd::geteuid().is_root() => {
            return Err(io::Error::other("an auditor never works as root"));
        }
        None => privilege::clear_capabilities()?,
    }
    Ok(uid.is_some() && may)
}

impl Auditor {
    fn serve(&mut self) -> Result<(), ChannelError> {
        loop {
            self.turn()?;
        }
    }

    fn turn(&mut self) -> Result<(), ChannelError> {
        let (ready, room) = self.wait().map_err(ChannelError::from)?;
        if room {
            self.writer.resume();
        }
        // The broker first, and after every message of an opener: what an opener says is about
        // connections of which the broker has told, and the broker waits for nobody for long.
        let mut all = self.hear_broker()?;
        for opener in ready {
            if !all || self.writer.pushes_back() {
                break;
            }
            let _ = self.hear_opener(opener);
            all = self.hear_broker()?;
        }
        self.writer.tick(Instant::now(), false);
        Ok(())
    }

    /// Openers that have said something, and whether there is room where records go.
    fn wait(&self) -> io::Result<(Vec<u32>, bool)> {
        let poll_in = |fd| PollFd::new(fd, PollFlags::POLLIN);
        // Openers that are not heard open no more files.
        let heard = !self.writer.pushes_back();
        let openers = || self.openers.iter().filter(|_| heard);
        let mut fds: Vec<PollFd<'_>> = openers().map(|(_, opener)| poll_in(opener.fd())).collect();
        fds.push(poll_in(self.broker.as_fd()));
        let sink = self.writer.waits_for();
        fds.extend(sink.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        let timeout = self.writer.next_event().map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let found = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let said = openers().zip(&fds).filter(|(_, fd)| found(fd));
        let said = said.map(|((opener, _), _)| *opener).collect();
        Ok((said, sink.is_some() && fds.last().is_some_and(found)))
    }

    /// Hears what the broker says; whether that is all.
    fn hear_broker(&mut self) -> Result<bool, ChannelError> {
        if let Some(ended) = self.ended.take() {
            return Err(ended);
        }
        for _ in 0..BROKER_MESSAGES_MAX {
            let (message, mut descriptors) = match self.broker.receive() {
                Err(ChannelError::WouldBlock) => return Ok(true),
                // Of an opener: it ends without its link. Of a connection: the opener's notes on it are refused.
                Err(ChannelError::DescriptorsLost) => {
                    self.writer.write(&Record::of("descriptors.lost").warning());
                    continue;
                }
                received => received?,
            };
            match (message, descriptors.pop()) {
                (BrokerToAuditor::Opener(opener, pid, identity), Some(link)) => {
                    self.adopt(opener, pid, identity, link);
                }
                (BrokerToAuditor::Connection(subject, _, decision), process) => {
                    self.connection(subject, process, decision);
                }
                _ => return Err(ChannelError::Closed),
            }
        }
        Ok(false)
    }

    fn adopt(&mut self, number: u32, pid: u32, identity: Identity, link: OwnedFd) {
        let rule = match identity {
            Identity::Caller { .. } => "default",
            Identity::ReadAll { .. } => "root",
            Identity::Granted { .. } => "grant",
            Identity::Unchanged => "own",
        };
        // If not, the opener has no link and ends.
        if let Ok(opener) = Opener::adopt(link, pid, rule, self.files) {
            self.openers.insert(number, opener);
        }
    }

    /// A connection was handed over or refused.
    fn connection(
        &mut self,
        (uid, gid, pid): (u32, u32, i32),
        process: Option<OwnedFd>,
        decision: Result<u32, Refusal>,
    ) {
        self.connections = self.connections.saturating_add(1);
        let executable =
            process.as_ref().and_then(|process| self.processes.executable(pid, process));
        let who = Record::default()
            .with("uid", uid)
            .with("gid", gid)
            .with("pid", u32::try_from(pid).ok().filter(|pid| *pid != 0))
            .with("exe", executable.as_deref())
            .with("connection", self.connections);
        let opener = decision.ok().and_then(|opener| self.openers.get_mut(&opener));
        let record = match (decision, &opener) {
            (Ok(_), opener) => Record::of("connection")
                .and(&who)
                .with("decision", "allowed")
                .with("authorization", opener.as_ref().map(|opener| opener.rule))
                .with("opener", opener.as_ref().map(|opener| opener.pid)),
            (Err(refusal), _) => Record::of("connection")
                .warning()
                .and(&who)
                .with("decision", "denied")
                .with("reason", format!("{refusal:?}")),
        };
        if let Some(opener) = opener {
            opener.welcome(uid, who);
        }
        self.writer.write_of(uid, Class::Requests, || record);
    }

    /// The broker has gone, and all openers with it: what they have said is heard, and that is all.
    fn end(mut self) {
        for opener in self.openers.keys().copied().collect::<Vec<_>>() {
            let left = (0..LAST_MESSAGES_MAX).find(|_| !self.hear_opener(opener));
            self.close(opener, left.is_none().then_some("it goes on talking"));
        }
        self.writer.write(&Record::of("stop"));
        self.writer.tick(Instant::now(), true);
        let unwritten = self.writer.unwritten();
        if unwritten > 0 {
            log::error!("audit: {unwritten} records were never written");
        }
    }
}
