//! Plays a scanner that somebody else has taken over: supervisor, template and workers in one process,
//! without engine and without seal, that break the protocol in one chosen way.
//!
//! Started by the tests as the scanner's user. `honest` shows that the double is faithful: it finds EICAR
//! and nothing else. What each of the other modes does stands where it is done: `worker:…` in `worker.rs`,
//! `template:…` in `template.rs`, `supervisor:…` here.
//!
//! ```text
//! captured-scanner RUNTIME_DIRECTORY MODE
//! ```
#![forbid(unsafe_code)]

mod template;
mod worker;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::fdpass;
use fdbroker_common::paths;
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::wire::{self, Message};

/// How often a storm says the same thing.
const STORM: u32 = 2000;

/// What this scanner does.
pub struct Play {
    mode: String,
    runtime: PathBuf,
}

impl Play {
    /// Whether this is the chosen way to break the protocol.
    pub fn is(&self, mode: &str) -> bool {
        self.mode == mode
    }

    /// The number behind a mode, as in `worker:descriptors-253`.
    pub fn number(&self, mode: &str) -> Option<usize> {
        self.mode.strip_prefix(mode)?.parse().ok()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, mode] = &arguments[..] else {
        eprintln!("usage: captured-scanner RUNTIME_DIRECTORY MODE");
        return ExitCode::from(2);
    };
    let play = Arc::new(Play { mode: mode.clone(), runtime: runtime.into() });
    match supervise(&play) {
        // The broker sends it away: what most of the modes are for.
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("captured-scanner: {error}");
            ExitCode::FAILURE
        }
    }
}

type Supervisor = Channel<SupervisorToBroker, BrokerToSupervisor>;

fn supervise(play: &Arc<Play>) -> Result<(), ChannelError> {
    let socket = connect_seqpacket(&play.runtime.join(paths::SCANNER_SOCKET))?;
    let raw = UnixDatagram::from(socket.try_clone()?);
    let mut link = Supervisor::adopt(socket)?;
    let hello = message(&SupervisorToBroker::Hello { workers: 2 });
    let hellos = if play.is("supervisor:hello-storm") { STORM } else { 1 };
    for _ in 0..hellos {
        let surplus = play.number("supervisor:hello-descriptors-").unwrap_or(0);
        say(&raw, &hello, surplus)?;
    }
    greet(play, &raw, &hello)?;
    eprintln!("captured-scanner: {} connected", play.mode);
    loop {
        let (BrokerToSupervisor::StartTemplate { template }, _) = link.receive()?;
        let told = SupervisorToBroker::Template { template };
        if play.is("supervisor:fails") {
            link.send(&SupervisorToBroker::Failed { template, errno: 12 }, &[])?;
        } else if play.is("supervisor:silent") {
            continue;
        } else if play.is("supervisor:pipe") {
            link.send(&told, &[pipe()?.as_fd()])?;
        } else if play.is("supervisor:itself") {
            let own = link.as_fd().try_clone_to_owned()?;
            link.send(&told, &[own.as_fd()])?;
        } else if play.is("supervisor:without-descriptor") {
            say(&raw, &message(&told), 0)?;
        } else if let Some(surplus) = play.number("supervisor:descriptors-") {
            say(&raw, &message(&told), surplus)?;
        } else {
            let (ours, theirs) = Channel::<TemplateToBroker, BrokerToTemplate>::pair()?;
            link.send(&told, &[theirs.as_fd()])?;
            if play.is("supervisor:twice") {
                link.send(&told, &[theirs.as_fd()])?;
            }
            let play = Arc::clone(play);
            std::thread::spawn(move || template::run(&play, ours));
        }
    }
}

/// What a supervisor may not say once it has said hello.
fn greet(play: &Play, raw: &UnixDatagram, hello: &[u8]) -> io::Result<()> {
    let unasked = message(&SupervisorToBroker::Template { template: 77 });
    let failed = |template| message(&SupervisorToBroker::Failed { template, errno: 12 });
    match play.mode.as_str() {
        "supervisor:unasked" => say(raw, &unasked, 1),
        "supervisor:failed-storm" => (0..STORM).try_for_each(|number| say(raw, &failed(number), 0)),
        "supervisor:half" => say(raw, &hello[..hello.len() - 1], 0),
        "supervisor:noise" => say(raw, &[0xa5; 200], 3),
        _ => Ok(()),
    }
}

/// A message as bytes.
pub fn message<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).expect("a message");
    bytes
}

/// Sends bytes with so many descriptors of a file that everybody knows.
pub fn say(socket: &UnixDatagram, bytes: &[u8], surplus: usize) -> io::Result<()> {
    let bait = std::fs::File::open("/etc/passwd")?;
    let descriptors: Vec<BorrowedFd<'_>> = (0..surplus).map(|_| bait.as_fd()).collect();
    fdpass::send(socket, bytes, &descriptors)
}

/// A descriptor that is no socket.
pub fn pipe() -> io::Result<OwnedFd> {
    Ok(std::io::pipe()?.0.into())
}

/// A file that everybody may read.
pub fn file() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open(Path::new("/etc/passwd"))?.into())
}
