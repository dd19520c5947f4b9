//! A broker of one's own, for one connection: a child process that ends with it.
//!
//! Runs as the user, and so does the child. Nothing is left behind: its end of the connection is the
//! sign to end, and after a bound it is killed.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fdbroker_common::channel::Channel;
use fdbroker_common::client::{Client, ClientError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::BrokerError;

const EXECUTABLE: &str = "fdbroker";

/// Where daemons are that the PATH of a user may leave out.
const DAEMON_DIRS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// How long it may take to end once the connection is closed.
const END_WAIT: Duration = Duration::from_secs(5);

/// A private broker that runs. Dropping it ends it.
#[derive(Debug)]
pub struct PrivateBroker {
    /// `None` once it has been waited for.
    child: Option<Child>,
}

/// How a private broker ended.
#[derive(Debug)]
pub struct Ended(Option<ExitStatus>);

impl PrivateBroker {
    /// Starts one and connects to it.
    pub fn start(rules: Option<&Path>) -> Result<(Self, Client), BrokerError> {
        let path = find_executable().ok_or(BrokerError::NotInstalled)?;
        let (ours, theirs) = Channel::<ClientToOpener, OpenerToClient>::pair()
            .map_err(|error| BrokerError::Client(ClientError::Io(error)))?;
        let mut command = Command::new(&path);
        command.arg("--private-on-stdin");
        if let Some(rules) = rules {
            command.arg("--rules").arg(not_an_option(rules));
        }
        let child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| BrokerError::Start { path, source })?;
        let started = Self { child: Some(child) };
        // The command still holds the child's end, whose closing must be seen.
        drop(command);
        let client = Client::from_connection(ours.into_descriptor())?;
        Ok((started, client))
    }

    /// Waits for its end. The connection must be closed by now.
    pub fn finish(mut self) -> Ended {
        Ended(self.reap())
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        if !ends_soon(&child) {
            // Fails only if it has ended meanwhile.
            let _ = child.kill();
        }
        child.wait().ok()
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        self.reap();
    }
}

impl Ended {
    /// What is to be told about it; nothing when it has told its reason itself.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        match self.0 {
            Some(status) if status.code().is_some_and(|code| code != 0) => None,
            Some(status) => Some(match status.signal() {
                Some(signal) => format!("the private broker was ended by signal {signal}"),
                None => "the private broker ended before the scan was finished".to_owned(),
            }),
            None => Some("the private broker is lost".to_owned()),
        }
    }
}

/// Waits for the end of a child, within the bound.
fn ends_soon(child: &Child) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(ended) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    wait_readable(ended.as_fd(), END_WAIT)
}

fn wait_readable(descriptor: BorrowedFd<'_>, bound: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let left = bound.saturating_sub(begun.elapsed());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut waited = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        match poll(&mut waited, Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Beside our own executable, then in the sbin of its prefix, then where the user's PATH leads, then
/// where daemons are.
fn find_executable() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // PREFIX/bin/fdscan belongs to PREFIX/sbin/fdbroker.
    let beneath = beside.as_deref().and_then(Path::parent).map(|prefix| prefix.join("sbin"));
    beside
        .into_iter()
        .chain(beneath)
        .chain(listed)
        .chain(DAEMON_DIRS.map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(EXECUTABLE))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// A directory whose name begins with a dash must not be taken for an option.
fn not_an_option(path: &Path) -> PathBuf {
    if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        Path::new(".").join(path)
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_dash_is_no_option() {
        assert_eq!(not_an_option(Path::new("-x")), Path::new("./-x"));
        assert_eq!(not_an_option(Path::new("x")), Path::new("x"));
    }

    #[test]
    fn only_an_end_without_its_own_message_is_told() {
        let ended = |raw| Ended(Some(ExitStatus::from_raw(raw)));
        assert_eq!(ended(2 << 8).complaint(), None);
        let killed = ended(9).complaint().unwrap();
        assert!(killed.contains("signal 9"), "{killed}");
        assert!(ended(0).complaint().is_some());
    }
}
