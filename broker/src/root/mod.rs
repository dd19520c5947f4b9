//! The broker: the only lasting process with uid 0, or an ordinary user's own.
//!
//! Single-threaded, fenced after start-up. Per connection: accept, ask the kernel who is there,
//! authorise, hand over to an opener. It also starts the other processes. Once it serves it opens no file
//! by name; it never reads a client's message, resolves a client's path or sees a verdict. Workers and
//! rules are the dispatcher's business.

pub mod clients;
pub mod fence;
pub mod launch;
pub mod listen;
pub mod log_file;
pub mod peer;
pub mod policy;
pub mod privilege;
pub mod sanitize;
pub mod settings;
pub mod shares;
pub mod spawn;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::iter::repeat;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use fdbroker_common::limits::CHILDREN_MAX;
use fdbroker_common::paths;
use fdbroker_common::refusal::Refusal;
use log::{error, info};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::audit_link::BrokerToAuditor;
use crate::dispatch_link::{BrokerToDispatcher, DispatcherToBroker};
use clients::{Opener, OpenerId, Waiting};
use listen::RuntimeDir;
use policy::Access;
use settings::Settings;
use spawn::{AuditorChannel, DispatcherChannel};

/// Connections accepted in one turn, so that other sockets have theirs.
const ACCEPTS_PER_TURN: usize = 16;

/// How often a service manager is told that the main loop turns.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How often idle openers are looked at, and a service manager is thought of, in milliseconds.
const RETIRE_LOOK_MS: u16 = 5_000;

/// How long we sleep when a connection can be neither accepted nor refused.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long children may take to end when the broker ends.
const END_GRACE: Duration = Duration::from_secs(3);

/// Why the broker ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Asked to.
    Stopped,
    /// The one connection of a private broker has been served.
    Served,
    /// It cannot do its job; one line why.
    Failed(String),
}

/// All state of the broker.
pub struct Broker {
    settings: Settings,
    executable: Option<File>,
    dir: Option<RuntimeDir>,
    signals: SignalFd,
    /// Listening, once scans can be served.
    clients: Vec<(Access, OwnedFd)>,
    /// Given up for a moment, so that a connection can be refused when there is no other descriptor.
    spare: Option<OwnedFd>,
    /// The connection of a private broker, until scans can be served.
    private: Option<OwnedFd>,
    /// Listened on by a service manager; nobody is accepted before scans can be served.
    passed: Option<OwnedFd>,
    manager: Option<UnixDatagram>,
    /// When the service manager was last told something.
    told: Instant,
    dispatcher: DispatcherChannel,
    auditor: Option<AuditorChannel>,
    waiting: VecDeque<Waiting>,
    openers: BTreeMap<OpenerId, Opener>,
    next_opener: OpenerId,
    /// Children that are not openers, or were killed, until they are collected; with the uid that an
    /// opener counts against.
    children: Vec<(Child, Option<u32>)>,
    end: Option<End>,
}

impl Broker {
    /// Claims the runtime directory, starts the dispatcher, fences itself.
    ///
    /// # Errors
    /// One line for the administrator.
    pub fn start(
        settings: Settings,
        descriptors: Vec<OwnedFd>,
        private: Option<OwnedFd>,
    ) -> Result<Self, String> {
        // Before anything is there that would be left behind.
        let signals = watch_signals().map_err(|error| format!("signals: {error}"))?;
        let mut come = descriptors.into_iter();
        let mut next = |comes: bool| if comes { come.next() } else { None };
        let interpreter = next(settings.interpreted).map(File::from);
        let executable = next(settings.plan.starts_scanner).map(File::from);
        let (passed, manager) = (next(settings.listens), next(settings.notifies));
        // First, so that its number is below any limit that is set later.
        let spare = io::stderr().as_fd().try_clone_to_owned().ok();
        let dir = settings.runtime_dir.as_deref().map(Path::new);
        let dir = dir.map(|path| RuntimeDir::claim(path, settings.is_system())).transpose()?;
        let mut sockets = Vec::new();
        if let Some(dir) = &dir {
            own_sockets(&settings).for_each(|name| dir.remove(name));
            sockets.push(dir.listen(paths::SCANNER_SOCKET, settings.is_system())?);
            sockets.push(dir.listen(paths::ADMIN_SOCKET, false)?);
        }
        // Before the fence, which is not its own: docs/privileges.md says why.
        let auditor = settings.audit.as_ref().map(|plan| spawn::auditor(settings.auditor, plan));
        let auditor =
            auditor.transpose().map_err(|error| format!("cannot start the auditor: {error}"))?;
        let (auditors_child, auditor) = auditor.unzip();
        confine(dir.as_ref(), [&interpreter, &executable], settings.is_system())
            .map_err(|error| format!("cannot confine the broker: {error}"))?;
        let (child, dispatcher) = spawn::dispatcher(&settings, &sockets)
            .map_err(|error| format!("cannot start the dispatcher: {error}"))?;
        Ok(Self {
            settings,
            executable,
            dir,
            spare,
            signals,
            clients: Vec::new(),
            private,
            passed,
            manager: manager.map(UnixDatagram::from),
            told: Instant::now(),
            dispatcher,
            auditor,
            waiting: VecDeque::new(),
            openers: BTreeMap::new(),
            next_opener: 0,
            children: auditors_child.into_iter().chain([child]).zip(repeat(None)).collect(),
            end: None,
        })
    }

    /// Serves until something ends it.
    ///
    /// # Errors
    /// When poll(2) fails, which nothing explains but a broken invariant.
    pub fn run(mut self) -> io::Result<End> {
        loop {
            self.retire_openers();
            self.hand_over();
            if self.told.elapsed() >= SIGN_OF_LIFE {
                self.tell_manager("WATCHDOG=1");
            }
            if let Some(end) = self.end.take() {
                self.close();
                return Ok(end);
            }
            self.wait()?.into_iter().for_each(|id| self.hear_opener(id));
            self.hear_signals();
            (0..self.clients.len()).for_each(|nth| self.accept(nth));
        }
    }

    /// Waits for an event. Forgets waiting connections whose client has gone, and returns the openers
    /// that have said something; the rest is looked at anyway.
    fn wait(&mut self) -> io::Result<Vec<OpenerId>> {
        let openers = self.openers.values().map(|opener| opener.channel.as_fd());
        let heard = openers.chain(self.clients.iter().map(|(_, fd)| fd.as_fd()));
        let heard =
            heard.chain([self.signals.as_fd()]).chain(self.auditor.as_ref().map(AsFd::as_fd));
        let unheard = self.waiting.iter().map(|waiting| waiting.connection.as_fd());
        let unheard = unheard.map(|fd| PollFd::new(fd, PollFlags::empty()));
        let dispatcher = [PollFd::new(self.dispatcher.as_fd(), PollFlags::POLLIN)];
        let heard = heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut fds: Vec<_> = dispatcher.into_iter().chain(unheard).chain(heard).collect();
        let idle = self.openers.values().any(|opener| !opener.busy) || self.manager.is_some();
        match poll(&mut fds, if idle { RETIRE_LOOK_MS.into() } else { PollTimeout::NONE }) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            // The limit on open files was lowered below the number of these.
            Err(nix::Error::EINVAL) => std::thread::sleep(ACCEPT_PAUSE),
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        // The auditor never says anything: that is its end.
        if self.auditor.is_some() && ready.last() == Some(&true) {
            self.finish(End::Failed("the auditor ended".into()));
        }
        let mut ready = ready.into_iter();
        let dispatcher_said = ready.next() == Some(true);
        self.waiting.retain(|_| !ready.next().unwrap_or(true));
        let openers = self.openers.keys().zip(ready);
        let openers = openers.filter_map(|(id, said)| said.then_some(*id)).collect();
        if dispatcher_said {
            self.hear_dispatcher();
        }
        Ok(openers)
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => {
                    self.children.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
                }
                Ok(Ok(Signal::SIGHUP)) => self.tell_dispatcher(BrokerToDispatcher::Reload, None),
                _ => self.finish(End::Stopped),
            }
        }
    }

    /// Reads what the dispatcher has said; waits for it if it has not.
    fn hear_dispatcher(&mut self) {
        match self.dispatcher.receive() {
            Ok((DispatcherToBroker::Serving, _)) => self.open_client_socket(),
            Ok(_) if self.children.len() >= CHILDREN_MAX => {
                self.finish(End::Failed("too many children hang".into()));
            }
            Ok((DispatcherToBroker::ReadRules, _)) => {
                self.started(spawn::rule_reader(&self.settings), |_| {
                    BrokerToDispatcher::RuleReader
                });
            }
            Ok((DispatcherToBroker::StartScanner, _)) => {
                if let Some(file) = &self.executable {
                    let scanner = spawn::scanner(&self.settings, file);
                    self.started(scanner, |pid| BrokerToDispatcher::Scanner { pid });
                }
            }
            Ok((DispatcherToBroker::Fail(reason), _)) => {
                self.finish(End::Failed(reason.escape_ascii().to_string()));
            }
            Err(error) => self.finish(End::Failed(format!("the dispatcher ended: {error}"))),
        }
    }

    /// Tells the dispatcher something. If it is slow we wait for it; if it is stuck, so are we.
    fn tell_dispatcher(&mut self, message: BrokerToDispatcher, descriptor: Option<OwnedFd>) {
        let borrowed: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
        // Once it is deaf, we end, and wait for it no more.
        let sent = self.end.is_none().then(|| self.dispatcher.send(&message, &borrowed));
        if let Some(Err(error)) = sent {
            self.finish(End::Failed(format!("the dispatcher ended or is deaf: {error}")));
        }
    }

    /// Tells the auditor something; the same holds.
    fn tell_auditor(&mut self, message: &BrokerToAuditor, descriptor: Option<OwnedFd>) {
        let borrowed: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
        let auditor = self.auditor.as_mut().filter(|_| self.end.is_none());
        if let Some(Err(error)) = auditor.map(|link| link.send(message, &borrowed)) {
            self.finish(End::Failed(format!("the auditor ended or is deaf: {error}")));
        }
    }

    /// The first reason to end is the one that counts.
    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Collects a child when it ends, and gives the dispatcher its link.
    fn started(
        &mut self,
        started: io::Result<(Child, OwnedFd)>,
        is: fn(u32) -> BrokerToDispatcher,
    ) {
        match started {
            Ok((child, link)) => {
                let message = is(child.id());
                self.children.push((child, None));
                self.tell_dispatcher(message, Some(link));
            }
            // The dispatcher misses it, and asks again.
            Err(error) => error!("a process could not be started: {error}"),
        }
    }

    /// The client sockets appear with the first scanner that is ready: whoever finds one is served.
    fn open_client_socket(&mut self) {
        if let Some(connection) = self.private.take() {
            self.admit(Access::Own, connection);
        }
        if let (Some(dir), true) = (&self.dir, self.clients.is_empty()) {
            let system = self.settings.is_system();
            let granted = self.settings.policy.grants.first().map(|_| paths::GRANTED_SOCKET);
            let granted =
                granted.map(|name| dir.listen(name, system).map(|fd| (Access::Granted, fd)));
            let listen = || dir.listen(paths::CLIENT_SOCKET, system);
            let own = self.passed.take().map_or_else(listen, Ok).map(|fd| (Access::Own, fd));
            // That one last: who finds it finds both.
            match granted.into_iter().chain([own]).collect() {
                Ok(sockets) => self.clients = sockets,
                Err(reason) => self.finish(End::Failed(reason)),
            }
            info!("serving");
            self.tell_manager("READY=1\nSTATUS=Serving");
        }
    }

    /// Tells a service manager, if there is one, how we are (sd_notify(3)).
    fn tell_manager(&mut self, state: &str) {
        self.told = Instant::now();
        if let Some(Err(error)) = self.manager.as_ref().map(|to| to.send(state.as_bytes())) {
            error!("the service manager was not told {state:?}: {error}");
        }
    }

    fn accept(&mut self, nth: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.accept_one(nth) {
                Ok((access, connection)) => self.admit(access, connection),
                Err(Errno::AGAIN) => return,
                Err(error) => return self.turn_away(nth, error),
            }
        }
    }

    fn accept_one(&self, nth: usize) -> rustix::io::Result<(Access, OwnedFd)> {
        let (access, socket) = self.clients.get(nth).ok_or(Errno::AGAIN)?;
        Ok((*access, accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?))
    }

    /// Accepts in the place of the spare descriptor, to say that there is no other. The kernel may ask for
    /// one even when nobody waits to be accepted.
    fn turn_away(&mut self, nth: usize, why: Errno) {
        self.spare = None;
        match self.accept_one(nth) {
            Ok((_, client)) => {
                error!("a connection was refused: {why}");
                self.refuse(client, Refusal::Overloaded);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
        self.spare = io::stderr().as_fd().try_clone_to_owned().ok();
    }

    /// Everything that we started ends with us.
    fn close(&mut self) {
        if let Some(dir) = &self.dir {
            own_sockets(&self.settings).for_each(|name| dir.remove(name));
        }
        for id in self.openers.keys().copied().collect::<Vec<_>>() {
            self.drop_opener(id, "the broker ends");
        }
        self.auditor = None;
        // The dispatcher is deaf to signals and ends with its link; then fdscand and rule readers with theirs.
        let _ = rustix::net::shutdown(&self.dispatcher, rustix::net::Shutdown::Both);
        let deadline = Instant::now() + END_GRACE;
        while !self.children.is_empty() && Instant::now() < deadline {
            let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
            let _ = poll(&mut [signals], PollTimeout::from(100_u8));
            while let Ok(Some(_)) = self.signals.read_signal() {}
            self.children.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
        }
        for left in self.children.drain(..).filter_map(|(child, _)| spawn::end(child)) {
            error!("process {} was killed and is not gone; it may hang in the kernel", left.id());
        }
    }
}

/// Those that we make, and remove; the client socket is not among them if a service manager made it.
fn own_sockets(settings: &Settings) -> impl Iterator<Item = &'static str> {
    paths::SOCKETS.into_iter().skip(usize::from(settings.listens))
}

fn watch_signals() -> nix::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Capabilities, Landlock and seccomp, in this order: each later one would forbid the earlier.
///
/// # Errors
/// When one of them cannot be had; the process must end then.
pub fn confine(
    dir: Option<&RuntimeDir>,
    others: [&Option<File>; 2],
    system: bool,
) -> io::Result<()> {
    let ourselves = File::open("/proc/self/exe")?;
    let executables: Vec<_> = others.into_iter().flatten().chain([&ourselves]).collect();
    if system {
        privilege::keep_brokers_own()?;
    } else {
        privilege::clear_capabilities()?;
        nix::sys::prctl::set_no_new_privs()?;
    }
    fence::confine(&executables, dir.map(|dir| dir.descriptor().as_fd()))
}
