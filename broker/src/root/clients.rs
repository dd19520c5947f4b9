//! Admission: a connection comes, the kernel says whose it is, policy decides, an opener gets it.
//!
//! Runs in the broker. Nothing that a client sends is read here; a connection that must wait waits
//! unread, and the only thing ever said to a client is that it is refused.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::rc::Rc;
use std::time::Instant;

use fdbroker_common::channel::ChannelError;
use fdbroker_common::fdpass;
use fdbroker_common::limits::{
    CONNECTIONS_WAITING_MAX, CONNECTIONS_WAITING_PER_UID_MAX, MESSAGES_PER_TURN, OPENER_IDLE,
    OPENERS_FOR_ROOT, OPENERS_MAX,
};
use fdbroker_common::opener_link::BrokerToOpener;
use fdbroker_common::refusal::Refusal;
use log::{debug, error};
use nix::sys::socket::{getsockopt, sockopt};

use super::peer::Peer;
use super::policy::{Access, Grant, authorise};
use super::shares::may_take;
use super::spawn::{self, OpenerChannel};
use super::{Broker, End};
use crate::audit_link::BrokerToAuditor;
use crate::dispatch_link::BrokerToDispatcher;

/// Names an opener.
pub type OpenerId = u32;

/// One opener process.
pub struct Opener {
    child: Child,
    /// Our end of its link.
    pub channel: OpenerChannel,
    grant: Rc<Grant>,
    /// Whether it has a client.
    pub busy: bool,
    /// When it last became idle or busy.
    pub since: Instant,
}

/// A connection that waits for an opener.
pub struct Waiting {
    /// Unread.
    pub connection: OwnedFd,
    grant: Rc<Grant>,
}

impl Broker {
    /// Decides on one new connection.
    pub(super) fn admit(&mut self, access: Access, connection: OwnedFd) {
        let Ok(peer) = Peer::of(&connection) else {
            return self.refuse(connection, Refusal::Overloaded);
        };
        debug!("connection: uid {} gid {} pid {}, {access:?}", peer.uid, peer.gid, peer.pid);
        match authorise(&peer, access, self.settings.mode, &self.settings.policy) {
            Ok(grant) if !self.may_serve(&grant) && !self.may_wait(peer.uid) => {
                self.refuse(connection, Refusal::TooManyConnections);
            }
            Ok(grant) => self.waiting.push_back(Waiting { connection, grant: Rc::new(grant) }),
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    fn may_wait(&self, uid: u32) -> bool {
        let waiting = self.waiting.iter().map(|waiting| waiting.grant.caller_uid);
        may_take(uid, waiting, CONNECTIONS_WAITING_MAX, CONNECTIONS_WAITING_PER_UID_MAX)
    }

    /// Whether this user may have another opener at work. An idle one counts for nobody: it makes room.
    fn may_serve(&self, grant: &Grant) -> bool {
        let uid = grant.caller_uid;
        let busy = self.openers.values().filter(|opener| opener.busy);
        let busy = busy.map(|opener| opener.grant.caller_uid);
        // Openers that were killed but hang in the kernel count until they are gone.
        let hanging = self.children.iter().filter_map(|(_, owner)| *owner);
        let all = if uid == 0 { OPENERS_MAX } else { OPENERS_MAX - OPENERS_FOR_ROOT };
        may_take(uid, busy.chain(hanging), all, grant.connections_max())
    }

    /// Hands waiting connections to openers, as far as the shares of their users allow.
    pub(super) fn hand_over(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            if !self.may_serve(&waiting.grant) {
                self.waiting.push_back(waiting);
                continue;
            }
            let idle = self.idle_opener(|opener| *opener.grant == *waiting.grant);
            match idle.map_or_else(|| self.start_opener(&waiting.grant), Ok) {
                Ok(id) => self.serve(id, waiting),
                Err(error) => {
                    error!("cannot start an opener: {error}");
                    self.refuse(waiting.connection, Refusal::Overloaded);
                }
            }
        }
    }

    fn idle_opener(&self, fits: impl Fn(&Opener) -> bool) -> Option<OpenerId> {
        let mut openers = self.openers.iter();
        openers.find(|(_, opener)| !opener.busy && fits(opener)).map(|(id, _)| *id)
    }

    fn end_idle(&mut self, why: &str, fits: impl Fn(&Opener) -> bool) -> bool {
        self.idle_opener(fits).inspect(|id| self.drop_opener(*id, why)).is_some()
    }

    fn start_opener(&mut self, grant: &Rc<Grant>) -> io::Result<OpenerId> {
        if self.openers.len().saturating_add(self.children.len()) >= OPENERS_MAX {
            self.end_idle("makes room", |_| true);
        }
        let (records, theirs) = self.auditor.as_ref().map(|_| spawn::pair()).transpose()?.unzip();
        let scanner_uid = self.settings.plan.scanner_uid;
        let (child, channel, lease) = spawn::opener(grant, scanner_uid, theirs)?;
        let (pid, caller_uid) = (child.id(), grant.caller_uid);
        self.tell_dispatcher(BrokerToDispatcher::Opener { pid, caller_uid }, Some(lease));
        self.next_opener = self.next_opener.wrapping_add(1);
        let id = self.next_opener;
        self.tell_auditor(&BrokerToAuditor::Opener(id, pid, grant.identity), records);
        let grant = Rc::clone(grant);
        let opener = Opener { child, channel, grant, busy: false, since: Instant::now() };
        self.openers.insert(id, opener);
        Ok(id)
    }

    fn serve(&mut self, id: OpenerId, waiting: Waiting) {
        self.audit(&waiting.connection, Ok(id));
        let Some(opener) = self.openers.get_mut(&id) else {
            return;
        };
        opener.busy = true;
        let sent = opener.channel.send(&BrokerToOpener::Serve, &[waiting.connection.as_fd()]);
        if let Err(error) = sent {
            self.drop_opener(id, &error.to_string());
            self.waiting.push_back(waiting);
        }
    }

    /// Reads what an opener says: that it is idle, or that it has ended.
    pub(super) fn hear_opener(&mut self, id: OpenerId) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(opener) = self.openers.get_mut(&id) else {
                return;
            };
            match opener.channel.receive() {
                Ok(_) => {
                    opener.busy = false;
                    opener.since = Instant::now();
                    self.served();
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => self.drop_opener(id, &error.to_string()),
            }
        }
    }

    /// A private broker ends with its one connection.
    fn served(&mut self) {
        if self.dir.is_none() {
            self.finish(End::Served);
        }
    }

    /// Ends an opener. Its workers end with its lease link.
    pub(super) fn drop_opener(&mut self, id: OpenerId, why: &str) {
        if let Some(opener) = self.openers.remove(&id) {
            debug!("opener {}: {why}", opener.child.id());
            let uid = opener.grant.caller_uid;
            self.children.extend(spawn::end(opener.child).map(|child| (child, Some(uid))));
            self.served();
        }
    }

    /// Ends openers that have been idle for long.
    pub(super) fn retire_openers(&mut self) {
        while self.end_idle("idle for long", |opener| opener.since.elapsed() >= OPENER_IDLE) {}
    }

    /// Tells the auditor what was decided on a connection, and whose it is.
    fn audit(&mut self, connection: &OwnedFd, decision: Result<OpenerId, Refusal>) {
        if let Ok(who) = getsockopt(connection, sockopt::PeerCredentials) {
            let who = (who.uid(), who.gid(), who.pid());
            let process = getsockopt(connection, sockopt::PeerPidfd).ok();
            let told = BrokerToAuditor::Connection(who, process.is_some(), decision);
            self.tell_auditor(&told, process);
        }
    }

    /// Tells a client that it is refused, if it listens, and closes.
    pub(super) fn refuse(&mut self, connection: OwnedFd, refusal: Refusal) {
        debug!("refused: {refusal:?}");
        self.audit(&connection, Err(refusal));
        // Accepted without blocking, so this does not wait either.
        if let Err(error) = fdpass::send(&connection.into(), &refusal.message(), &[]) {
            debug!("refusal not delivered: {error}");
        }
        self.served();
    }
}
