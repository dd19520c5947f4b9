//! The supervisor: keeps a connection to the broker and starts templates when told to.
//!
//! Runs as the scanner's user without capabilities. It sees no rules, no workers and no files: each
//! template talks to the broker over a connection of its own. It reads two kinds of event, messages
//! and ends of children, and waits for both in one poll(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::paths;
use fdbroker_common::scanner_link::{BrokerToSupervisor, SupervisorToBroker};
use fdbroker_common::stdio;
use log::{error, info, warn};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::args::Args;
use crate::seal::identity::{self, Unprivileged};
use crate::seal::{SealError, limits};
use crate::signals::Signals;
use crate::templates::Templates;

/// Delay before the second attempt to connect, and the longest one.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);

const TURNED_AWAY: &str =
    "the broker closed the connection at once; it takes one scanner, of its --scanner-user";

type Link = Channel<SupervisorToBroker, BrokerToSupervisor>;

/// Why the supervisor cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It could not give up its privileges.
    #[error("cannot confine this process: {0}")]
    Seal(#[from] SealError),
    /// A system call of its own failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No such address is possible.
    #[error("--runtime-dir: path of the socket: {0}")]
    Address(Errno),
}

impl From<Errno> for SupervisorError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// How a connection ended.
enum End {
    /// We are asked to end.
    Stop,
    /// The broker has gone, after it asked for something or before.
    Lost { served: bool },
}

/// Serves until a signal ends it.
///
/// # Errors
/// See [`SupervisorError`]; an absent broker is none.
pub fn run(user: Unprivileged, args: &Args) -> Result<(), SupervisorError> {
    identity::close_inherited()?;
    identity::harden()?;
    limits::template()?;
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let signals = Signals::block()?;
    if args.broker_on_stdin {
        let link = stdio::take_channel()?;
        serve(&user, link, args, &signals)?;
        return Ok(());
    }
    let path = args.runtime_dir.join(paths::SCANNER_SOCKET);
    let address = UnixAddr::new(&path).map_err(SupervisorError::Address)?;
    let mut delay = RETRY_FIRST;
    let mut told = None;
    loop {
        match open(&address) {
            Ok(link) => match serve(&user, link, args, &signals)? {
                End::Stop => return Ok(()),
                End::Lost { served: true } => {
                    info!("the broker has gone; waiting for it");
                    (delay, told) = (RETRY_FIRST, None);
                }
                End::Lost { served: false } => complain(&mut told, &path, TURNED_AWAY),
            },
            Err(error) => complain(&mut told, &path, reason(error)),
        }
        if pause(&signals, delay)? {
            return Ok(());
        }
        delay = (delay * 2).min(RETRY_LAST);
    }
}

/// Tells each reason once.
fn complain(told: &mut Option<String>, path: &Path, reason: &str) {
    if told.as_deref() != Some(reason) {
        warn!("{}: {reason}; trying again until it works", path.display());
        *told = Some(reason.to_owned());
    }
}

fn reason(error: Errno) -> &'static str {
    match error {
        Errno::ENOENT | Errno::ECONNREFUSED => "no broker there",
        error => error.desc(),
    }
}

fn open(address: &UnixAddr) -> Result<Link, Errno> {
    // Not blocking, so that a broker that accepts nobody does not keep us from ending.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(descriptor.as_raw_fd(), address)?;
    let link = Link::adopt(descriptor).map_err(raw)?;
    link.set_nonblocking(false).map_err(raw)?;
    Ok(link)
}

fn raw(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Waits; true when a signal says to end.
fn pause(signals: &Signals, delay: Duration) -> Result<bool, SupervisorError> {
    let timeout = Timespec {
        tv_sec: i64::try_from(delay.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(delay.subsec_nanos()),
    };
    let mut events = [PollFd::new(signals, PollFlags::IN)];
    match poll(&mut events, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(signals.take()?.is_some()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// One connection, from greeting to end. Whatever the end, no template is left.
fn serve(
    user: &Unprivileged,
    mut link: Link,
    args: &Args,
    signals: &Signals,
) -> Result<End, SupervisorError> {
    let mut templates = Templates::new(args.verbose);
    let mut served = false;
    let greeting = SupervisorToBroker::Hello { workers: args.workers };
    if link.send(&greeting, &[]).is_err() {
        return Ok(End::Lost { served });
    }
    loop {
        let said = wait(&link, signals, &templates)?;
        if let Some(signal) = signals.take()? {
            info!("ended by {}", signal.as_str());
            return Ok(End::Stop);
        }
        templates.reap();
        if !said {
            continue;
        }
        match link.receive() {
            Ok((BrokerToSupervisor::StartTemplate { template }, _)) => {
                if !served {
                    info!("connected to the broker");
                }
                served = true;
                if !start(user, &mut templates, &mut link, template) {
                    return Ok(End::Lost { served });
                }
            }
            Err(ChannelError::WouldBlock) => {}
            Err(ChannelError::Closed) => return Ok(End::Lost { served }),
            Err(error) => {
                error!("connection to the broker: {error}");
                return Ok(End::Lost { served });
            }
        }
    }
}

/// Waits for any event; true when the broker has said something.
fn wait(link: &Link, signals: &Signals, templates: &Templates) -> Result<bool, SupervisorError> {
    let mut events = vec![PollFd::new(link, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    events.extend(templates.ends().map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
    match poll(&mut events, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    Ok(events.first().is_some_and(|link| !link.revents().is_empty()))
}

/// Starts a template and tells the broker; false when there is no broker any more.
fn start(user: &Unprivileged, templates: &mut Templates, link: &mut Link, template: u32) -> bool {
    let told = match templates.start(user, template) {
        Ok(end) => link.send(&SupervisorToBroker::Template { template }, &[end.as_fd()]),
        Err(error) => {
            error!("cannot start template {template}: {error}");
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            link.send(&SupervisorToBroker::Failed { template, errno }, &[])
        }
    };
    told.is_ok()
}
