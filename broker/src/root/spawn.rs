//! How the broker starts its children: fork and execve of known executables, an empty environment,
//! one connection on standard input, nothing else inherited.
//!
//! Runs in the broker. What the children become is theirs to do.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use fdbroker_common::channel::Channel;
use fdbroker_common::opener_link::{BrokerToOpener, OpenerToBroker};
use fdbroker_common::wire::Message;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_bytes::ByteBuf;

use super::launch;
use super::policy::Grant;
use super::settings::{BrokerToConfiguration, Mode, Settings};
use crate::audit_link::BrokerToAuditor;
use crate::dispatch_link::{BrokerToDispatcher, DispatcherToBroker};
use crate::{auditor, configuration, dispatcher, opener, rules};

/// The broker's end of an opener.
pub type OpenerChannel = Channel<BrokerToOpener, OpenerToBroker>;
/// An opener, the broker's end of it, and the dispatcher's end of its lease link.
type StartedOpener = (Child, OpenerChannel, OwnedFd);
/// The broker's end of the dispatcher.
pub type DispatcherChannel = Channel<BrokerToDispatcher, DispatcherToBroker>;

/// The broker's end of the auditor, which says nothing.
pub type AuditorChannel = Channel<BrokerToAuditor, BrokerToConfiguration>;

/// Seconds that dispatcher and auditor may take to have room for a message.
const PATIENCE_S: i64 = 10;

/// Our own executable. By this name the kernel finds it even below a directory that may not be
/// searched, and after an upgrade has replaced the file.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// What a service manager says to the broker, which looks at none of it.
const FROM_MANAGER: &str =
    "LISTEN_FDNAMES LISTEN_FDS LISTEN_PID NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC";

/// Starts the configuration reader with our own command line.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn configuration_reader() -> io::Result<(Child, Channel<BrokerToConfiguration, Settings>)> {
    let (ours, theirs) = Channel::pair()?;
    let mut command = role("fdbroker: configuration reader", configuration::ROLE, theirs);
    command.args(std::env::args_os().skip(1)).current_dir(".").stdout(Stdio::inherit());
    command.envs(FROM_MANAGER.split(' ').filter_map(|name| Some((name, std::env::var_os(name)?))));
    Ok((command.spawn()?, ours))
}

/// Starts the dispatcher and gives it the sockets that it serves. Its link waits for it, but not for ever.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn dispatcher(
    settings: &Settings,
    sockets: &[OwnedFd],
) -> io::Result<(Child, DispatcherChannel)> {
    let (mut ours, theirs) = DispatcherChannel::pair()?;
    setsockopt(&ours, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE_S))?;
    let child = role("fdbroker: dispatcher", dispatcher::ROLE, theirs).spawn()?;
    let begin = match sockets {
        [] => BrokerToDispatcher::BeginPrivate(settings.plan),
        _ => BrokerToDispatcher::Begin(settings.plan),
    };
    let borrowed: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    ours.send(&begin, &borrowed).map_err(io::Error::other)?;
    Ok((child, ours))
}

/// Starts the auditor. Its link waits for it, but not for ever.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn auditor(uid: Option<u32>, plan: &ByteBuf) -> io::Result<(Child, AuditorChannel)> {
    let (mut ours, theirs) = AuditorChannel::pair()?;
    setsockopt(&ours, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE_S))?;
    let child = role("fdbroker: auditor", auditor::ROLE, theirs).spawn()?;
    ours.send(&BrokerToAuditor::Begin(uid, plan.clone()), &[]).map_err(io::Error::other)?;
    Ok((child, ours))
}

/// Starts an opener, with this as its standard output, and tells it whom to serve.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn opener(grant: &Grant, scanner_uid: u32, out: Option<OwnedFd>) -> io::Result<StartedOpener> {
    let (mut ours, theirs) = OpenerChannel::pair()?;
    let (lease, lease_of_opener) = pair()?;
    let title = format!("fdbroker: opener for uid {}", grant.caller_uid);
    let out = out.map_or_else(Stdio::null, Stdio::from);
    let child = role(&title, opener::ROLE, theirs).stdout(out).spawn()?;
    let link = [lease_of_opener.as_fd()];
    let told = grant.messages(scanner_uid).try_for_each(|message| {
        ours.send(&message, link.get(..message.descriptors()).unwrap_or_default())
    });
    if let Err(error) = told {
        end(child);
        return Err(io::Error::other(error));
    }
    // It has read by then, and is our own code until it has: groups need more room than a socket has.
    ours.set_nonblocking(true)?;
    Ok((child, ours, lease))
}

/// Starts fdscand as the scanner's user. Returns the dispatcher's end of its link.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn scanner(settings: &Settings, executable: &File) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = pair()?;
    let mut command = role("fdbroker: launcher", launch::ROLE, theirs);
    if let Mode::System { scanner, .. } = settings.mode {
        command.args([scanner.0.to_string(), scanner.1.to_string()]);
    }
    if settings.plan.log_level == 0 {
        // A private broker tells what matters itself.
        command.stderr(Stdio::null());
    }
    // The launcher executes what stands on its standard output.
    command.stdout(Stdio::from(OwnedFd::from(executable.try_clone()?)));
    Ok((command.spawn()?, ours))
}

/// Starts a rule reader. Returns the dispatcher's end of its link.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn rule_reader(settings: &Settings) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = pair()?;
    let mut command = role("fdbroker: rule reader", rules::ROLE, theirs);
    command.arg(match settings.mode {
        Mode::System { reader_uid, .. } => reader_uid.to_string(),
        Mode::Personal { .. } => "-".into(),
    });
    command.args(&settings.rules).current_dir(".");
    Ok((command.spawn()?, ours))
}

/// Both ends of a link that is for others.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

fn role(title: &str, role: &str, link: OwnedFd) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg0(title).arg(role).env_clear();
    command.current_dir("/").stdin(Stdio::from(link)).stdout(Stdio::null());
    command
}

/// Kills a child and collects it if it ends at once; one that is stuck in the kernel is returned.
pub fn end(mut child: Child) -> Option<Child> {
    // ESRCH and the like: it has ended already.
    let _ = child.kill();
    matches!(child.try_wait(), Ok(None)).then_some(child)
}
