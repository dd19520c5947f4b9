//! Helper of the system tests: becomes a user, then executes a program, connects to a socket or reads
//! a file. Started by root it becomes whom it is told; otherwise it can be only its own user.
//!
//! ```text
//! run-as exec    UID GID GROUPS PROGRAM [ARGUMENT]...
//! run-as terminal UID GID GROUPS PROGRAM [ARGUMENT]...
//!                                          the same, as leader of a session whose terminal is its
//!                                          standard error
//! run-as connect UID GID GROUPS SOCKET     passes the connection, or errno, over standard input;
//!                                          with a COUNT behind SOCKET, so many
//! run-as open    UID GID GROUPS FILE       errno of opening FILE itself, 0 if it could, as bytes in
//!                                          decimal; then the contents of the descriptor that it
//!                                          receives over standard input
//! run-as fill    UID GID GROUPS FILE       keeps as many descriptors of FILE in flight as the kernel
//!                                          lets the user have, and passes the errno that ended that
//! ```
//!
//! With `RUN_AS_DATA_MAX` in its environment, `exec` sets that many bytes as the limit on memory.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::fdpass;
use fdbroker_common::limits::DESCRIPTORS_PER_MESSAGE_MAX;
use nix::fcntl::AtFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, execveat, geteuid, setgroups, setresgid, setresuid, setsid};
use rustix::process::ioctl_tiocsctty;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("run-as: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = || arguments.next().ok_or(io::Error::other("usage: see its source"));
    let verb = next()?;
    let [uid, gid, groups] = [text(next()?)?, text(next()?)?, text(next()?)?];
    let path = PathBuf::from(next()?);
    let identity = Identity { uid: number(&uid)?, gid: number(&gid)?, groups: list(&groups)? };
    match verb.to_str() {
        Some("exec") => exec(&identity, &path, arguments.collect()),
        Some("terminal") => {
            setsid()?;
            ioctl_tiocsctty(io::stderr())?;
            exec(&identity, &path, arguments.collect())
        }
        Some("connect") => {
            let count = arguments.next().map(|count| number(&text(count)?)).transpose()?;
            connect(&identity, &path, count.unwrap_or(1))
        }
        Some("open") => open(&identity, &path),
        Some("fill") => fill(&identity, &path),
        _ => Err(io::Error::other("no such verb")),
    }
}

struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Identity {
    fn take(&self) -> io::Result<()> {
        if geteuid().is_root() {
            let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            setgroups(&groups)?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
        } else if geteuid().as_raw() != self.uid {
            return Err(io::Error::other("only root can become another user"));
        }
        Ok(())
    }
}

fn exec(identity: &Identity, path: &Path, arguments: Vec<OsString>) -> io::Result<()> {
    let same = identity.uid == geteuid().as_raw();
    let program = if same { File::open(path)? } else { for_anybody(path)? };
    let name = path.file_name().unwrap_or_default().to_owned();
    let argv = [name].into_iter().chain(arguments).map(c_string).collect::<Result<Vec<_>, _>>()?;
    let envp = std::env::vars_os().map(|(name, value)| {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        c_string(variable)
    });
    let envp = envp.collect::<Result<Vec<_>, _>>()?;
    if let Ok(bytes) = std::env::var("RUN_AS_DATA_MAX") {
        let bytes = bytes.parse().map_err(io::Error::other)?;
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?;
    }
    identity.take()?;
    // Last, because a change of identity clears it: nothing survives a test that is killed.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    match execveat(program.as_fd(), c"", &argv, &envp, AtFlags::AT_EMPTY_PATH)? {}
}

/// Opens an executable so that any user can execute the descriptor: one that is executable for its
/// owner alone (umask 077) is copied into memory.
fn for_anybody(path: &Path) -> io::Result<File> {
    let mut original = File::open(path)?;
    if original.metadata()?.mode() & 0o005 == 0o005 {
        return Ok(original);
    }
    let mut copy = File::from(memfd_create("program", MFdFlags::MFD_CLOEXEC)?);
    io::copy(&mut original, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

fn connect(identity: &Identity, path: &Path, count: u32) -> io::Result<()> {
    let link = standard_input()?;
    identity.take()?;
    for _ in 0..count {
        match connect_seqpacket(path) {
            Ok(socket) => fdpass::send(&link, &[0; 4], &[socket.as_fd()])?,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(i32::MAX);
                fdpass::send(&link, &errno.to_ne_bytes(), &[])?;
            }
        }
    }
    until_closed(&link)
}

/// Until the test closes its end.
fn until_closed(link: &UnixDatagram) -> io::Result<()> {
    fdpass::receive_plain(link, &mut [0]).map_err(io::Error::other)?;
    Ok(())
}

/// More messages than this are never needed, whatever the limit.
const MESSAGES_MAX: usize = 50_000;

fn fill(identity: &Identity, path: &Path) -> io::Result<()> {
    let link = standard_input()?;
    let file = File::open(path)?;
    identity.take()?;
    // The limit is that of whoever sends, and openers raise theirs as far as they may.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let descriptors = [file.as_fd(); DESCRIPTORS_PER_MESSAGE_MAX];
    let mut full = Vec::new();
    let mut pair = UnixDatagram::pair()?;
    let mut count = descriptors.len();
    for _ in 0..MESSAGES_MAX {
        pair.0.set_nonblocking(true)?;
        match fdpass::send(&pair.0, &[0], &descriptors[..count]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                full.push(std::mem::replace(&mut pair, UnixDatagram::pair()?));
            }
            Err(error) if count == 1 => {
                let errno = error.raw_os_error().unwrap_or(i32::MAX);
                fdpass::send(&link, &errno.to_ne_bytes(), &[])?;
                return until_closed(&link);
            }
            // To the very last one.
            Err(_) => count = 1,
            Ok(()) => {}
        }
    }
    Err(io::Error::other("no limit was met"))
}

fn open(identity: &Identity, path: &Path) -> io::Result<()> {
    let link = standard_input()?;
    identity.take()?;
    let errno = File::open(path).err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    let packet = fdpass::receive(&link, &mut [0]).map_err(io::Error::other)?;
    let mut contents = Vec::new();
    for descriptor in packet.descriptors {
        File::from(descriptor).read_to_end(&mut contents)?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{errno}")?;
    out.write_all(&contents)
}

fn standard_input() -> io::Result<UnixDatagram> {
    let descriptor: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixDatagram::from(descriptor))
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

fn text(argument: OsString) -> io::Result<String> {
    argument.into_string().map_err(|_| io::Error::other("not a number"))
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().map_err(io::Error::other)
}

fn list(text: &str) -> io::Result<Vec<u32>> {
    text.split(',').filter(|part| !part.is_empty()).map(number).collect()
}
