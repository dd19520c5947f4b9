//! The admin socket: status, reload and probes, for root or the owner of a personal broker.
//!
//! Runs in the dispatcher. A request is one verb, with one number at most.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use fdbroker_common::admin_link::{AdminReply, AdminRequest, OpenerStatus, Status};
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::limits::{
    ADMIN_CONNECTIONS_MAX, MESSAGES_PER_TURN, OPENERS_MAX, RULE_ERROR_BYTES_MAX,
};
use log::{debug, info};

use super::Dispatcher;
use crate::root::peer::Peer;

/// One administrator.
pub struct Admin {
    channel: Channel<AdminReply, AdminRequest>,
    awaits: Option<Reload>,
}

/// Which load of the rules an administrator waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reload {
    /// The one that goes on.
    Current,
    /// The one after it: what goes on may have read the rules before they were changed.
    Next,
}

impl Admin {
    /// Descriptor to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Dispatcher {
    /// Somebody connects to the admin socket.
    pub(super) fn admit_admin(&mut self, connection: OwnedFd) {
        let allowed = Peer::of(&connection).is_ok_and(|peer| peer.uid == self.plan.admin_uid);
        if !allowed || self.admins.len() >= ADMIN_CONNECTIONS_MAX {
            return self.warn_rarely("admin socket: a connection was refused");
        }
        if let Ok(channel) = Channel::adopt(connection)
            && channel.set_nonblocking(true).is_ok()
        {
            self.next_admin = self.next_admin.wrapping_add(1);
            self.admins.insert(self.next_admin, Admin { channel, awaits: None });
        }
    }

    /// Reads what an administrator asks.
    pub(super) fn hear_admin(&mut self, id: u32) -> Result<(), ChannelError> {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(admin) = self.admins.get_mut(&id) else {
                return Ok(());
            };
            match admin.channel.receive() {
                Ok((AdminRequest::Status, _)) => {
                    let reply = AdminReply::Status(Box::new(self.snapshot()));
                    self.reply(id, &reply);
                }
                Ok((AdminRequest::Reload, _)) => {
                    let goes_on = self.scanner.is_loading();
                    admin.awaits = Some(if goes_on { Reload::Next } else { Reload::Current });
                    self.reload()?;
                }
                Ok((AdminRequest::Probe(act), _)) => self.probe(id, act),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => {
                    debug!("admin connection: {error}");
                    self.drop_admin(id);
                }
            }
        }
        Ok(())
    }

    /// Has the rules read again; whoever asked is answered when it is known how that went.
    pub(super) fn reload(&mut self) -> Result<(), ChannelError> {
        info!("reload");
        if !self.scanner.is_connected() {
            self.answer_reload_failed(b"no scanner is connected");
            return Ok(());
        }
        if self.scanner.is_loading() {
            self.scanner.again = true;
            return Ok(());
        }
        self.read_rules()
    }

    /// One load has ended: the next one begins, if somebody asked for it meanwhile.
    pub(super) fn reload_again(&mut self) -> Result<(), ChannelError> {
        if self.scanner.is_loading() || !std::mem::take(&mut self.scanner.again) {
            return Ok(());
        }
        for admin in self.admins.values_mut().filter(|admin| admin.awaits.is_some()) {
            admin.awaits = Some(Reload::Current);
        }
        self.read_rules()
    }

    /// The new rules serve.
    pub(super) fn answer_reloaded(&mut self, generation: GenerationId, rules: u32) {
        self.answer(&AdminReply::Reloaded { generation, rules });
    }

    /// The old rules go on.
    pub(super) fn answer_reload_failed(&mut self, reason: &[u8]) {
        let reason = reason.iter().take(RULE_ERROR_BYTES_MAX).copied().collect::<Vec<u8>>();
        self.answer(&AdminReply::ReloadFailed { reason: reason.into() });
    }

    fn answer(&mut self, reply: &AdminReply) {
        let admins = self.admins.iter_mut();
        let waiting = admins.filter_map(|(id, admin)| {
            admin.awaits.take_if(|awaits| *awaits == Reload::Current).map(|_| *id)
        });
        for id in waiting.collect::<Vec<_>>() {
            self.reply(id, reply);
        }
    }

    pub(super) fn reply(&mut self, id: u32, reply: &AdminReply) {
        if let Some(admin) = self.admins.get_mut(&id)
            && let Err(error) = admin.channel.send(reply, &[])
        {
            debug!("admin connection: {error}");
            self.drop_admin(id);
        }
    }

    pub(super) fn drop_admin(&mut self, id: u32) {
        self.admins.remove(&id);
    }

    /// Whether scans have been served since the start.
    pub(super) fn has_served(&self) -> bool {
        self.workers_max > 0
    }

    fn snapshot(&self) -> Status {
        let now = Instant::now();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (workers, lent) = self.pool.counts();
        let loaded = self.scanner.current.and_then(|number| self.scanner.loaded(number));
        let opener = |(id, opener): (&u32, &super::Opener)| OpenerStatus {
            pid: opener.pid,
            caller_uid: opener.caller_uid,
            busy: opener.is_busy(),
            workers: count(self.pool.held_by(*id).len()),
            waiting: opener.is_busy() && self.pool.held_by(*id).is_empty(),
        };
        Status {
            broker_pid: self.plan.broker_pid,
            dispatcher_pid: std::process::id(),
            scanner_pid: self.scanner.pid,
            scanner_uid: self.plan.scanner_uid,
            uptime_s: now.saturating_duration_since(self.started).as_secs(),
            generation: loaded.map(|ready| ready.generation),
            rules: loaded.map_or(0, |ready| ready.rules),
            workers_max: count(self.workers_max),
            workers: count(workers),
            workers_lent: count(lent),
            workers_stuck: count(self.pool.stuck(now)),
            penalised_uids: self.penalties.penalised(now).collect(),
            openers: self.openers.iter().map(opener).take(OPENERS_MAX).collect(),
            ..self.status.clone()
        }
    }
}
