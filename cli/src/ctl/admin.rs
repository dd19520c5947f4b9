//! The admin link: one question, one answer.
//!
//! Runs as root or as the owner of the broker, which its socket checks. Waiting is bounded.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker_common::admin_link::{AdminReply, AdminRequest, Status};
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::escape::Escaped;
use fdbroker_common::limits::TEMPLATE_START;
use fdbroker_common::paths;
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::CtlError;
use crate::output::write_line;

/// How long the broker may take to tell how it is.
const STATUS_WAIT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct ReloadObject {
    version: u32,
    reloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Asks how the broker is.
pub fn status(dir: &Path) -> Result<Status, CtlError> {
    match ask(dir, AdminRequest::Status, STATUS_WAIT)? {
        AdminReply::Status(status) => Ok(*status),
        _ => Err(CtlError::NoAnswer("another answer".to_owned())),
    }
}

/// Makes the broker read its rules again and tells what came of it.
pub fn reload(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let wait = TEMPLATE_START.saturating_add(STATUS_WAIT);
    let (object, text) = match ask(dir, AdminRequest::Reload, wait)? {
        AdminReply::Reloaded { generation, rules } => (
            ReloadObject {
                version: 1,
                reloaded: true,
                generation: Some(generation.to_string()),
                rules: Some(rules),
                reason: None,
            },
            format!("generation {generation}, {rules} rules"),
        ),
        AdminReply::ReloadFailed { reason } => (
            ReloadObject {
                version: 1,
                reloaded: false,
                generation: None,
                rules: None,
                reason: Some(String::from_utf8_lossy(&reason).into_owned()),
            },
            format!("not reloaded: {}", Escaped(&reason)),
        ),
        _ => return Err(CtlError::NoAnswer("another answer".to_owned())),
    };
    if json {
        write_line(out, &object)?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(u8::from(!object.reloaded))
}

fn ask(dir: &Path, request: AdminRequest, wait: Duration) -> Result<AdminReply, CtlError> {
    AdminLink::open(dir)?.ask(request, wait)
}

/// A connection to the admin socket.
pub struct AdminLink {
    path: PathBuf,
    channel: Channel<AdminRequest, AdminReply>,
}

impl AdminLink {
    /// Connects.
    pub fn open(dir: &Path) -> Result<Self, CtlError> {
        let path = dir.join(paths::ADMIN_SOCKET);
        let socket = match connect_seqpacket(&path) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(CtlError::Denied(path));
            }
            Err(source) => return Err(CtlError::NoBroker { path, source }),
        };
        let channel = Channel::adopt(socket)?;
        channel.set_nonblocking(true)?;
        Ok(Self { path, channel })
    }

    /// Who made the socket, by the kernel's word: the broker.
    pub fn broker(&self) -> io::Result<UnixCredentials> {
        Ok(getsockopt(&self.channel, sockopt::PeerCredentials)?)
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, request: AdminRequest, wait: Duration) -> Result<AdminReply, CtlError> {
        let link = &mut self.channel;
        // A refusing broker may have closed already; what it says by that is told below.
        link.send(&request, &[]).map_err(|error| no_answer(&self.path, &error))?;
        let begun = Instant::now();
        loop {
            match link.receive() {
                Ok((reply, _)) => return Ok(reply),
                Err(ChannelError::WouldBlock) => {}
                Err(error) => return Err(no_answer(&self.path, &error)),
            }
            let left = wait.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let seconds = wait.as_secs();
                return Err(CtlError::NoAnswer(format!("silent for {seconds} seconds")));
            }
            let timeout = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(&*link, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(CtlError::NoAnswer(error.to_string())),
            }
        }
    }
}

/// A connection that is closed before any answer is how a broker treats whoever may not ask.
fn no_answer(path: &Path, error: &ChannelError) -> CtlError {
    match error {
        ChannelError::Closed if !rustix::process::geteuid().is_root() => {
            CtlError::Denied(path.to_owned())
        }
        error => CtlError::NoAnswer(error.to_string()),
    }
}
