//! What a service manager gives the broker: the listening client socket (sd_listen_fds(3)), and the socket on
//! which it hears how the broker is (sd_notify(3)).
//!
//! Runs in the configuration reader, or in an ordinary user's own broker. The variables are those of the
//! broker, which parses none of them. A socket is handed on only if it is exactly what it should be.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use fdbroker_common::{inherited, paths};
use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::root::SIGN_OF_LIFE;

/// The first descriptor that is passed, and the only one that we take.
const FIRST: i32 = 3;

/// Its name: `FileDescriptorName=` in the unit of the socket.
const NAME: &str = "client";

/// How long the service manager may take to have room for a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was given.
#[derive(Debug, Default)]
pub struct Given {
    /// A descriptor that may be the listening client socket.
    listening: Option<OwnedFd>,
    /// Connected to the service manager.
    pub notify: Option<OwnedFd>,
}

impl Given {
    /// Takes what is meant for the broker, which is this process or its parent.
    ///
    /// # Errors
    /// One line for the administrator.
    pub fn take(broker: u32) -> Result<Self, String> {
        let variable = |name: &str| std::env::var_os(name);
        let is_for_us = |name: &str| {
            variable(name).is_some_and(|pid| pid.to_str() == Some(&broker.to_string()))
        };
        let listening = if is_for_us("LISTEN_PID") {
            check_names(variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"))?;
            let taken = inherited::duplicate(FIRST);
            Some(taken.map_err(|error| format!("the socket that was passed: {error}"))?)
        } else {
            None
        };
        if is_for_us("WATCHDOG_PID") {
            check_interval(variable("WATCHDOG_USEC"))?;
        }
        // Whoever cannot be told is not waiting for it either.
        let notify = variable("NOTIFY_SOCKET").and_then(|address| connect(&address).ok());
        Ok(Self { listening, notify })
    }

    /// The client socket of this runtime directory, if it was passed.
    ///
    /// # Errors
    /// One line for the administrator when something else was.
    pub fn client_socket(&mut self, dir: Option<&OsStr>) -> Result<Option<OwnedFd>, String> {
        let Some(socket) = self.listening.take() else {
            return Ok(None);
        };
        let path = Path::new(dir.unwrap_or_default()).join(paths::CLIENT_SOCKET);
        let is_it = || -> nix::Result<bool> {
            Ok(getsockname::<UnixAddr>(socket.as_raw_fd())? == UnixAddr::new(&path)?
                && getsockopt(&socket, sockopt::SockType)? == SockType::SeqPacket
                && getsockopt(&socket, sockopt::AcceptConn)?)
        };
        if dir.is_none() || !is_it().unwrap_or(false) {
            return Err(format!(
                "the service manager passes another socket than {}; give the unit ListenSequentialPacket= with this path",
                path.display().to_string().replace(char::is_control, "?")
            ));
        }
        // Service managers pass sockets that block.
        let made =
            fcntl_getfl(&socket).and_then(|flags| fcntl_setfl(&socket, flags | OFlags::NONBLOCK));
        made.map_err(|error| format!("the socket that was passed: {error}"))?;
        Ok(Some(socket))
    }
}

fn check_names(count: Option<OsString>, names: Option<OsString>) -> Result<(), String> {
    if count.as_deref() == Some(OsStr::new("1")) && names.as_deref() == Some(OsStr::new(NAME)) {
        return Ok(());
    }
    let reason = "the service manager passes other sockets than one of the name";
    Err(format!(
        "{reason} {NAME:?}; give its unit FileDescriptorName={NAME}, and the service no other"
    ))
}

/// The broker shows that it lives at fixed intervals.
fn check_interval(told: Option<OsString>) -> Result<(), String> {
    let told = told.and_then(|told| told.to_str()?.parse().ok()).map(Duration::from_micros);
    // It may be a little late.
    let least = SIGN_OF_LIFE.saturating_mul(3);
    match told {
        Some(told) if told < least => {
            Err(format!("WatchdogSec= is too short; make it {} s or more", least.as_secs()))
        }
        _ => Ok(()),
    }
}

/// A datagram socket that the broker can use behind its fence, where it can connect none.
fn connect(address: &OsStr) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(Path::new(address))?,
    }
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, bind, listen, socket};

    use super::*;

    /// A socket of this type in a directory of its own; listening if told.
    fn bound(kind: SockType, listens: bool) -> (OwnedFd, std::path::PathBuf) {
        let dir = nix::unistd::mkdtemp("/tmp/fdbroker-test-XXXXXX").unwrap();
        let bound = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let address = UnixAddr::new(&dir.join(paths::CLIENT_SOCKET)).unwrap();
        bind(bound.as_raw_fd(), &address).unwrap();
        if listens {
            listen(&bound, Backlog::new(1).unwrap()).unwrap();
        }
        (bound, dir)
    }

    fn taken(socket: OwnedFd, dir: &Path) -> Result<Option<OwnedFd>, String> {
        let mut given = Given { listening: Some(socket), notify: None };
        given.client_socket(Some(dir.as_os_str()))
    }

    #[test]
    fn only_the_listening_client_socket_of_the_runtime_directory_is_taken() {
        let (good, dir) = bound(SockType::SeqPacket, true);
        let socket = taken(good.try_clone().unwrap(), &dir).unwrap().expect("it is taken");
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        let elsewhere = taken(good.try_clone().unwrap(), Path::new("/run/fdbroker"));
        assert!(elsewhere.is_err_and(|reason| reason.contains("/run/fdbroker/client.sock")));
        let mut private = Given { listening: Some(good), notify: None };
        assert!(private.client_socket(None).is_err());
        std::fs::remove_dir_all(dir).unwrap();
        for (kind, listens) in [(SockType::SeqPacket, false), (SockType::Stream, true)] {
            let (other, dir) = bound(kind, listens);
            assert!(taken(other, &dir).is_err(), "{kind:?} {listens}");
            std::fs::remove_dir_all(dir).unwrap();
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(taken(file.into(), Path::new("/tmp")).is_err());
    }

    #[test]
    fn one_descriptor_of_the_right_name_is_taken_and_nothing_else() {
        let check = |count: &str, names: Option<&str>| {
            check_names(Some(count.into()), names.map(OsString::from))
        };
        assert_eq!(check("1", Some("client")), Ok(()));
        for (count, names) in [
            ("1", None),
            ("1", Some("fdbroker.socket")),
            ("2", Some("client:admin")),
            ("2", Some("client")),
            ("0", Some("client")),
            ("one", Some("client")),
        ] {
            let reason = check(count, names).unwrap_err();
            assert!(reason.contains("FileDescriptorName=client"), "{reason}");
        }
    }

    #[test]
    fn a_watchdog_that_would_bite_too_early_is_refused() {
        let check = |micros: &str| check_interval(Some(micros.into()));
        assert!(check("14999999").is_err_and(|reason| reason.contains("15 s")));
        assert_eq!(check("15000000"), Ok(()));
        assert_eq!(check_interval(None), Ok(()));
    }

    #[test]
    fn a_service_manager_with_an_abstract_address_is_heard() {
        let name = format!("fdbroker-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        UnixDatagram::from(socket).send(b"READY=1").unwrap();
        let mut said = [0; 16];
        let length = manager.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"READY=1");
        assert!(connect(OsStr::new("/nonexistent/notify")).is_err());
    }
}
