//! Finds a broker, or starts one.
//!
//! Runs as the user. A broker that was named is used or its absence is an error; only when none was
//! named does a private one step in. It never talks to a broker of a third user unless that was named.

mod again;
mod private;

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker_common::client::{Client, ClientError};
use fdbroker_common::client_link::Refusal;
use fdbroker_common::paths;
use rustix::process::geteuid;

use crate::args::Args;
use crate::output::{name, plain};
use again::{Origin, Replacement};
use private::PrivateBroker;

/// How long a broker that has no scanner yet is waited for, and how often it is looked at.
const START_WAIT: Duration = Duration::from_secs(10);
const START_LOOK: Duration = Duration::from_millis(50);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Nobody is there.
    #[error(
        "no broker at {}; start one with `fdbroker --runtime-dir {}`",
        name(&.0.join(paths::CLIENT_SOCKET)), name(.0)
    )]
    Absent(PathBuf),
    /// A socket without a listener.
    #[error(
        "nobody listens at {}, a broker left it behind; start fdbroker again",
        name(&.0.join(paths::CLIENT_SOCKET))
    )]
    Stale(PathBuf),
    /// A broker without scanner.
    #[error(
        "the broker at {} has no scanner yet; start fdscand as its own user, or fdbroker with --spawn-scanner; if one runs, the broker's log says what is wrong",
        name(.0)
    )]
    NoScanner(PathBuf),
    /// The socket is not for this user.
    #[error(
        "you may not connect to the broker at {}: permission denied; ask its administrator",
        name(&.0.join(paths::CLIENT_SOCKET))
    )]
    Denied(PathBuf),
    /// A broker that grants nothing to anybody.
    #[error(
        "the broker at {} grants nothing; scan without --granted, or have its administrator write a [[grant]]",
        name(.0)
    )]
    NoGrants(PathBuf),
    /// `--rules` without rules.
    #[error("--rules {}: {reason}", name(path))]
    Rules {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No executable.
    #[error(
        "cannot start a private broker: no executable `fdbroker` beside fdscan, in ../sbin, PATH, \
         /usr/local/sbin or /usr/sbin"
    )]
    NotInstalled,
    /// It could not be started.
    #[error("cannot start {}: {}", name(path), plain(source))]
    Start {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Connecting failed in another way.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl BrokerError {
    /// Whether a private broker would do instead.
    #[must_use]
    pub fn private_helps(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Stale(_) | Self::Denied(_))
    }
}

/// A connected broker, shared or private.
#[derive(Debug)]
pub struct Broker {
    /// Declared first, so that the connection is closed before the private broker is waited for.
    client: Client,
    private: Option<PrivateBroker>,
    origin: Origin,
}

impl Broker {
    /// Finds the broker that the command line asks for, or starts a private one.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn find(args: &Args) -> Result<Self, BrokerError> {
        if let Some(rules) = &args.rules {
            check_rules(rules)?;
        }
        if args.private || args.rules.is_some() {
            return Self::start(args.rules.as_deref());
        }
        if let Some(dir) = &args.runtime_dir {
            return Ok(Self::shared(reach(dir, args.granted)?, dir, true, args.granted));
        }
        for dir in default_runtime_dirs().filter(|dir| is_inhabited(dir)) {
            match reach(&dir, args.granted) {
                Ok(client) if is_trusted(&client) => {
                    return Ok(Self::shared(client, &dir, false, args.granted));
                }
                Ok(_) | Err(BrokerError::Stale(_) | BrokerError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if args.granted {
            return Err(BrokerError::Absent(paths::RUNTIME_DIR.into()));
        }
        Self::start(None)
    }

    fn shared(client: Client, dir: &Path, named: bool, granted: bool) -> Self {
        let origin = Origin::Shared { dir: dir.to_owned(), named, granted };
        Self { client, private: None, origin }
    }

    fn start(rules: Option<&Path>) -> Result<Self, BrokerError> {
        let (private, client) = PrivateBroker::start(rules)?;
        let origin = Origin::Private(rules.map(Path::to_owned), false);
        Ok(Self { client, private: Some(private), origin })
    }

    /// The connection, and what replaces it when it is lost.
    pub fn client(&mut self) -> (&mut Client, Replacement<'_>) {
        let Self { client, private, origin } = self;
        (client, Replacement { origin, private })
    }

    /// Who serves the scan, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.origin {
            Origin::Shared { dir, .. } => format!("broker at {}", name(dir)),
            Origin::Private(Some(rules), _) => {
                format!("private broker, rules of {}", name(rules))
            }
            Origin::Private(None, _) => "private broker".to_owned(),
        }
    }

    /// Whether it grants somebody what they cannot read, and this scan does not make use of it.
    #[must_use]
    pub fn has_unused_grants(&self) -> bool {
        match &self.origin {
            Origin::Shared { dir, granted: false, .. } => dir.join(paths::GRANTED_SOCKET).exists(),
            _ => false,
        }
    }

    /// Whether it serves this process alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Closes the connection, waits for a private broker to end, and turns the error of the scan
    /// into what is left to be told: nothing if the broker has told it already.
    #[must_use]
    pub fn finish(self, error: Option<ClientError>) -> Option<String> {
        let Self { client, private, .. } = self;
        drop(client);
        let ended = private.map(PrivateBroker::finish);
        let error = error?;
        match (ended, &error) {
            (Some(ended), ClientError::Lost | ClientError::Refused(Refusal::NoScanner)) => {
                ended.complaint()
            }
            _ => Some(error.to_string()),
        }
    }
}

/// Runtime directories that are looked at when none was named, the system's first.
pub fn default_runtime_dirs() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|dir| dir.is_absolute());
    let own = own.map(|dir| dir.join("fdbroker"));
    std::iter::once(PathBuf::from(paths::RUNTIME_DIR)).chain(own)
}

/// Whether a broker lives, starts or has lived in a runtime directory.
#[must_use]
pub fn is_inhabited(dir: &Path) -> bool {
    dir.join(paths::CLIENT_SOCKET).exists() || dir.join(paths::SCANNER_SOCKET).exists()
}

/// Connects to the broker of a runtime directory; waits a little for one that is starting.
///
/// # Errors
/// See [`BrokerError`].
pub fn connect(dir: &Path) -> Result<Client, BrokerError> {
    reach(dir, false)
}

/// As [`connect`], also for what the broker grants.
fn reach(dir: &Path, granted: bool) -> Result<Client, BrokerError> {
    let begun = Instant::now();
    loop {
        let client = if granted { Client::connect_granted(dir) } else { Client::connect(dir) };
        let error = match client {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let kind = match &error {
            ClientError::NoBroker { source, .. } => source.kind(),
            _ => return Err(error.into()),
        };
        match kind {
            io::ErrorKind::NotFound if !dir.join(paths::SCANNER_SOCKET).exists() => {
                return Err(BrokerError::Absent(dir.to_owned()));
            }
            io::ErrorKind::NotFound if granted && is_without_grants(dir) => {
                return Err(BrokerError::NoGrants(dir.to_owned()));
            }
            io::ErrorKind::NotFound if begun.elapsed() < START_WAIT => thread::sleep(START_LOOK),
            io::ErrorKind::NotFound => return Err(BrokerError::NoScanner(dir.to_owned())),
            io::ErrorKind::ConnectionRefused => return Err(BrokerError::Stale(dir.to_owned())),
            io::ErrorKind::PermissionDenied => return Err(BrokerError::Denied(dir.to_owned())),
            _ => return Err(error.into()),
        }
    }
}

/// Whether a broker serves and grants nothing: the socket for grants comes before the other one.
fn is_without_grants(dir: &Path) -> bool {
    dir.join(paths::CLIENT_SOCKET).exists() && !dir.join(paths::GRANTED_SOCKET).exists()
}

/// Whether it is the system's broker or our own. `XDG_RUNTIME_DIR` may be that of somebody else, who
/// would be handed descriptors and could call anything clean.
fn is_trusted(client: &Client) -> bool {
    client.broker_uid().is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw())
}

fn check_rules(dir: &Path) -> Result<(), BrokerError> {
    let reason = match std::fs::metadata(dir) {
        Ok(facts) if facts.is_dir() => return Ok(()),
        Ok(_) => "Not a directory".to_owned(),
        Err(error) => plain(&error),
    };
    Err(BrokerError::Rules { path: dir.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn runtime_dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("fdscan-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_directory_without_sockets_has_no_broker() {
        let dir = runtime_dir("absent");
        let error = connect(&dir).unwrap_err();
        std::fs::remove_dir(&dir).unwrap();
        assert!(matches!(error, BrokerError::Absent(_)), "{error}");
    }

    #[test]
    fn a_socket_that_a_broker_left_behind_is_stale() {
        let dir = runtime_dir("stale");
        let bound = UnixDatagram::bind(dir.join(paths::CLIENT_SOCKET)).unwrap();
        drop(bound);
        let error = connect(&dir).unwrap_err();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(error, BrokerError::Stale(_)), "{error}");
    }

    #[test]
    fn a_broker_without_the_socket_for_grants_has_none() {
        let dir = runtime_dir("grants");
        for socket in [paths::SCANNER_SOCKET, paths::CLIENT_SOCKET] {
            drop(UnixDatagram::bind(dir.join(socket)).unwrap());
        }
        let error = reach(&dir, true).unwrap_err();
        drop(UnixDatagram::bind(dir.join(paths::GRANTED_SOCKET)).unwrap());
        let stale = reach(&dir, true).unwrap_err();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(error, BrokerError::NoGrants(_)), "{error}");
        assert!(matches!(stale, BrokerError::Stale(_)), "{stale}");
    }

    #[test]
    fn rules_must_be_a_directory() {
        for (path, reason) in [
            ("/nonexistent", "--rules /nonexistent: No such file or directory"),
            ("/etc/passwd", "--rules /etc/passwd: Not a directory"),
        ] {
            assert_eq!(check_rules(Path::new(path)).unwrap_err().to_string(), reason);
        }
        assert!(check_rules(Path::new("/etc")).is_ok());
    }
}
