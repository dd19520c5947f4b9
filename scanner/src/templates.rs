//! The templates that a supervisor has started.
//!
//! A template is this program again, started afresh so that it inherits nothing but one connection.
//! It dies with its supervisor, and dropping [`Templates`] ends all of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fdbroker_common::channel::Channel;
use fdbroker_common::scanner_link::{BrokerToTemplate, TemplateToBroker};
use log::{debug, warn};
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::seal::identity::Unprivileged;

/// Most templates at once: the one that serves, the next one, and some that are on their way out.
const TEMPLATES_MAX: usize = 8;

/// How often, and how long apart, workers are looked for that are about to end.
const ORPHAN_LOOKS: u32 = 200;
const ORPHAN_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Template {
    number: u32,
    child: Child,
    end: OwnedFd,
}

/// Templates by number.
#[derive(Debug)]
pub struct Templates {
    list: Vec<Template>,
    verbose: u8,
}

impl Templates {
    /// None yet.
    #[must_use]
    pub fn new(verbose: u8) -> Self {
        Self { list: Vec::new(), verbose }
    }

    /// Starts one and returns the broker's end of its link.
    ///
    /// # Errors
    /// As socketpair(2), fork(2) and execve(2); `EAGAIN` when there are too many.
    pub fn start(&mut self, _user: &Unprivileged, number: u32) -> io::Result<OwnedFd> {
        if self.list.len() >= TEMPLATES_MAX {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let (broker, template) = Channel::<BrokerToTemplate, TemplateToBroker>::pair()?;
        // By this name the executable is found even where the user may not enter its directory.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("fdscand: template")
            .arg("--template")
            .arg(std::process::id().to_string())
            .args((0..self.verbose).map(|_| "-v"))
            .env_clear()
            .stdin(Stdio::from(template))
            .stdout(Stdio::null());
        let mut child = command.spawn()?;
        // The pid is ours until it is reaped, so the descriptor names this very child.
        let end = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match end {
            Ok(end) => {
                debug!("template {number} started (pid {})", child.id());
                self.list.push(Template { number, child, end });
                Ok(broker.into_descriptor())
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Descriptors that become readable when a template ends.
    pub fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().map(|template| template.end.as_fd())
    }

    /// Forgets those that have ended, and says how.
    pub fn reap(&mut self) {
        self.list.retain_mut(|template| {
            let number = template.number;
            match template.child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) if status.success() => debug!("template {number} ended"),
                Ok(Some(status)) => warn!("template {number} ended: {}", Told(status)),
                Err(error) => warn!("template {number} is lost: {error}"),
            }
            false
        });
        self.reap_orphans();
    }
}

impl Templates {
    /// Collects workers whose template has ended before them; the kernel gives them to us (see
    /// `PR_SET_CHILD_SUBREAPER` in prctl(2)) and kills them. False when there are none left.
    fn reap_orphans(&self) -> bool {
        loop {
            let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::All, look).map(|status| status.pid()) {
                Ok(Some(pid)) if !self.has(pid) => {
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                }
                Ok(_) | Err(Errno::EINTR) => return true,
                Err(_) => return false,
            }
        }
    }

    fn has(&self, pid: nix::unistd::Pid) -> bool {
        self.list.iter().any(|template| i32::try_from(template.child.id()) == Ok(pid.as_raw()))
    }
}

impl Drop for Templates {
    fn drop(&mut self) {
        for template in &mut self.list {
            let _ = template.child.kill();
        }
        for mut template in std::mem::take(&mut self.list) {
            let _ = template.child.wait();
            debug!("template {} ended", template.number);
        }
        // Workers are being killed with it. One that hangs in the kernel is left to init.
        for _ in 0..ORPHAN_LOOKS {
            if !self.reap_orphans() {
                break;
            }
            std::thread::sleep(ORPHAN_PAUSE);
        }
    }
}

struct Told(ExitStatus);

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.signal(), self.0.code()) {
            (Some(signal), _) => write!(out, "{}", crate::children::SignalName(signal)),
            (None, Some(code)) => write!(out, "exit status {code}"),
            (None, None) => out.write_str("unknown cause"),
        }
    }
}
