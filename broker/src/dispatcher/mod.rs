//! The dispatcher: lends workers to openers, looks after the scanner, answers administrators.
//!
//! A process with a uid of its own and no capability (or an ordinary user's), started by the broker. It
//! opens nothing, starts nothing, and no caller's file or name ever reaches it: what it holds are links.
//! Whom an opener serves, and which rules and executables there are, is the broker's decision.

pub mod admin;
pub mod events;
pub mod leases;
pub mod losses;
pub mod openers;
pub mod outbox;
pub mod penalties;
pub mod probes;
pub mod rules_watch;
pub mod scanner;
pub mod templates;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_common::admin_link::Status;
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::limits::SCANNER_WAIT;
use fdbroker_common::stdio::take_channel;
use log::{debug, warn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{SocketFlags, accept_with};

use crate::dispatch_link::{BrokerToDispatcher, DispatcherToBroker, Plan};
use crate::root::privilege;
use crate::root::sanitize::ignore_requests_to_end;
use crate::{confine, log_to_stderr};
use admin::Admin;
use leases::{OpenerId, Pool};
use openers::Opener;
use penalties::Penalties;
use probes::Probes;
use rules_watch::RulesWatch;
use scanner::Scanner;

/// First argument that selects this role.
pub const ROLE: &str = "--dispatcher";

type BrokerChannel = Channel<DispatcherToBroker, BrokerToDispatcher>;

/// How long nothing is accepted after it could not be: the limit on open files is reached.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All state of the dispatcher.
pub struct Dispatcher {
    broker: BrokerChannel,
    plan: Plan,
    scanner_socket: Option<OwnedFd>,
    admin_socket: Option<OwnedFd>,
    /// Until when nothing is accepted.
    accept_paused: Option<Instant>,
    openers: BTreeMap<OpenerId, Opener>,
    next_opener: OpenerId,
    scanner: Scanner,
    pool: Pool,
    penalties: Penalties,
    workers_max: usize,
    /// Workers when nobody says how many.
    processors: usize,
    admins: BTreeMap<u32, Admin>,
    next_admin: u32,
    probes: Probes,
    rules_watch: RulesWatch,
    status: Status,
    started: Instant,
    warned: Option<Instant>,
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
enum Source {
    Broker,
    ScannerSocket,
    AdminSocket,
    RuleReader,
    RulesWatch,
    Supervisor,
    Template(u32),
    Opener(OpenerId),
    Admin(u32),
}

/// Serves until the broker closes the link.
///
/// # Errors
/// When the identity cannot be taken, or the broker breaks the protocol: the process ends.
pub fn run() -> io::Result<()> {
    ignore_requests_to_end()?;
    let mut broker: BrokerChannel = take_channel()?;
    let (message, mut sockets) = broker.receive().map_err(io::Error::other)?;
    let (BrokerToDispatcher::Begin(plan) | BrokerToDispatcher::BeginPrivate(plan)) = message else {
        return Err(io::Error::other("the broker broke the protocol"));
    };
    match plan.uid {
        Some(uid) => privilege::become_user(uid, uid, &[])?,
        None if nix::unistd::geteuid().is_root() => {
            return Err(io::Error::other("a dispatcher never works as root"));
        }
        None => privilege::clear_capabilities()?,
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_name(c"fdb-dispatcher")?;
    confine::dispatcher()?;
    log_to_stderr(plan.log_level);
    broker.set_nonblocking(true)?;
    let now = Instant::now();
    let dispatcher = Dispatcher {
        broker,
        plan,
        admin_socket: sockets.pop(),
        scanner_socket: sockets.pop(),
        accept_paused: None,
        openers: BTreeMap::new(),
        next_opener: 0,
        scanner: Scanner::absent(now),
        pool: Pool::default(),
        penalties: Penalties::default(),
        workers_max: 0,
        processors,
        admins: BTreeMap::new(),
        next_admin: 0,
        probes: Probes::default(),
        rules_watch: RulesWatch::default(),
        status: Status::default(),
        started: now,
        warned: None,
    };
    match dispatcher.serve() {
        Ok(()) | Err(ChannelError::Closed) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

impl Dispatcher {
    fn serve(mut self) -> Result<(), ChannelError> {
        loop {
            let now = Instant::now();
            self.start_scanner(now)?;
            self.expect_greeting(now)?;
            self.restart_template(now)?;
            self.reload_changed(now)?;
            self.retire_templates(now)?;
            self.expect_answers(now)?;
            self.end_late_probes(now);
            self.distribute(now);
            self.flush_templates()?;
            self.flush_openers();
            self.accept_paused = self.accept_paused.filter(|until| *until > now);
            for source in self.wait(now).map_err(ChannelError::from)? {
                self.handle(source)?;
            }
        }
    }

    fn handle(&mut self, source: Source) -> Result<(), ChannelError> {
        match source {
            Source::Broker => return self.hear_broker(),
            Source::ScannerSocket => {
                let accepted = accept(self.scanner_socket.as_ref());
                if let Some(connection) = self.accepted(accepted) {
                    self.admit_scanner(connection);
                }
            }
            Source::AdminSocket => {
                let accepted = accept(self.admin_socket.as_ref());
                if let Some(connection) = self.accepted(accepted) {
                    self.admit_admin(connection);
                }
            }
            Source::RuleReader => return self.hear_rule_reader(),
            Source::RulesWatch => self.hear_rules_watch(),
            Source::Supervisor => return self.hear_supervisor(),
            Source::Template(number) => return self.hear_template(number),
            Source::Opener(id) => self.hear_opener(id),
            Source::Admin(id) => return self.hear_admin(id),
        }
        Ok(())
    }

    fn wait(&self, now: Instant) -> io::Result<Vec<Source>> {
        let accepts = self.accept_paused.is_none();
        let [scanner, admin] = [&self.scanner_socket, &self.admin_socket]
            .map(|socket| socket.as_ref().filter(|_| accepts).map(AsFd::as_fd));
        let sources: Vec<(Source, BorrowedFd<'_>)> = [
            (Source::Broker, Some(self.broker.as_fd())),
            (Source::ScannerSocket, scanner),
            (Source::AdminSocket, admin),
            (Source::RuleReader, self.scanner.reader_fd()),
            (Source::RulesWatch, self.rules_watch.fd()),
            (Source::Supervisor, self.scanner.supervisor_fd()),
        ]
        .into_iter()
        .filter_map(|(source, fd)| Some((source, fd?)))
        .chain(self.scanner.template_fds().map(|(number, fd)| (Source::Template(number), fd)))
        .chain(self.openers.iter().map(|(id, opener)| (Source::Opener(*id), opener.fd())))
        .chain(self.admins.iter().map(|(id, admin)| (Source::Admin(*id), admin.fd())))
        .collect();
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, self.timeout(now)) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = sources.iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(true));
        Ok(ready.map(|((source, _), _)| *source).collect())
    }

    /// Until the next thing that time brings; a little late rather than early.
    fn timeout(&self, now: Instant) -> PollTimeout {
        let demands = self.demands(now);
        let waiting = demands.iter().any(|demand| self.pool.held_by(demand.opener).is_empty());
        let absent = self.scanner.absent_since.filter(|_| !demands.is_empty());
        let unsent = self.openers.values().any(Opener::has_unsent);
        let retry = unsent.then(|| now.checked_add(outbox::RETRY)).flatten();
        let next = [self.pool.next_event(waiting), self.scanner.next_event(now)]
            .into_iter()
            .flatten()
            .chain(retry)
            .chain(self.accept_paused)
            .chain(absent.and_then(|since| since.checked_add(SCANNER_WAIT)))
            .chain(self.penalty_events(now))
            .chain(self.probes.next_event())
            .chain(self.next_rules_load())
            .min();
        next.map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(now).as_millis().saturating_add(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        })
    }

    fn hear_broker(&mut self) -> Result<(), ChannelError> {
        loop {
            let (message, mut descriptors) = match self.broker.receive() {
                Err(ChannelError::WouldBlock) => return Ok(()),
                // An opener ends without its link; scanner and rule reader are asked for again.
                Err(ChannelError::DescriptorsLost) => {
                    self.warn_rarely("the limit on open files is reached: a link was lost");
                    continue;
                }
                received => received?,
            };
            match (message, descriptors.pop()) {
                (BrokerToDispatcher::Opener { pid, caller_uid }, Some(link)) => {
                    self.adopt_opener(pid, caller_uid, link);
                }
                (BrokerToDispatcher::Scanner { pid }, Some(link)) => self.adopt_scanner(pid, link),
                (BrokerToDispatcher::RuleReader, Some(link)) => self.adopt_rule_reader(link)?,
                (BrokerToDispatcher::Reload, None) => self.reload()?,
                _ => return Err(ChannelError::Closed),
            }
        }
    }

    /// What was accepted. If nothing can be, because there is no descriptor left, it is not tried again
    /// at once: the connection stays in the kernel's queue.
    fn accepted(&mut self, accepted: rustix::io::Result<OwnedFd>) -> Option<OwnedFd> {
        let error = match accepted {
            Ok(connection) => return Some(connection),
            Err(rustix::io::Errno::AGAIN) => return None,
            Err(error) => error,
        };
        self.warn_rarely(&format!("accept: {error}"));
        self.accept_paused = Instant::now().checked_add(ACCEPT_PAUSE);
        None
    }

    /// Asks the broker for something.
    fn ask(&mut self, request: &DispatcherToBroker) -> Result<(), ChannelError> {
        self.broker.send(request, &[])
    }

    /// Logs what any user can cause at will: at most once a second.
    fn warn_rarely(&mut self, message: &str) {
        if self.warned.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            self.warned = Some(Instant::now());
            return warn!("{message}");
        }
        debug!("{message}");
    }
}

fn accept(listener: Option<&OwnedFd>) -> rustix::io::Result<OwnedFd> {
    let listener = listener.ok_or(rustix::io::Errno::AGAIN)?;
    accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}
