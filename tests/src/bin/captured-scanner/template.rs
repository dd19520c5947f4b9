//! The template: rules, the table of their names, and workers.

use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::paths;
use fdbroker_common::rule_table::{RuleEntries, RuleEntry, RuleTable};
use fdbroker_common::scanner_link::{BrokerToTemplate, TemplateToBroker};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::{Play, file, message, pipe, say, worker};

/// The rules that it claims to have.
pub const GENERATION: GenerationId = GenerationId([1; 16]);
/// Their names.
const NAMES: [&str; 2] = ["EICAR_Test_File", "Second_Rule"];

/// A template's end of its link.
pub type Link = Channel<TemplateToBroker, BrokerToTemplate>;

/// Serves until the broker has gone.
pub fn run(play: &Arc<Play>, mut link: Link) {
    if let Err(error) = live(play, &mut link) {
        eprintln!("captured-scanner: template: {error}");
    }
}

fn live(play: &Arc<Play>, link: &mut Link) -> Result<(), ChannelError> {
    let raw = UnixDatagram::from(link.as_fd().try_clone_to_owned()?);
    while !matches!(link.receive()?.0, BrokerToTemplate::Compile) {}
    let ready = TemplateToBroker::Ready {
        generation: GENERATION,
        rules: if play.is("template:more-rules") { 50 } else { 2 },
        wants_names: false,
    };
    match play.mode.as_str() {
        "template:worker-before-ready" => {
            say(&raw, &message(&TemplateToBroker::Worker { worker: 1 }), 1)?
        }
        "template:ready-without-table" => say(&raw, &message(&ready), 0)?,
        "template:noise" => say(&raw, &[0x5a; 300], 0)?,
        "template:closes" => return Ok(()),
        _ => {}
    }
    if let Some(surplus) = play.number("template:ready-descriptors-") {
        say(&raw, &message(&ready), surplus)?;
    }
    link.send(&ready, &[table(play)?.as_fd()])?;
    if play.is("template:ready-twice") {
        link.send(&ready, &[table(play)?.as_fd()])?;
    }
    let mut workers = Vec::new();
    loop {
        match link.receive()?.0 {
            BrokerToTemplate::Fork { worker } => fork(play, link, &raw, worker, &mut workers)?,
            BrokerToTemplate::Kill { worker } => {
                let known = workers.iter().find(|(number, _)| *number == worker);
                if let Some((_, socket)) = known.filter(|_| !play.is("template:ignores-kill")) {
                    let _ = UnixDatagram::shutdown(socket, Shutdown::Both);
                }
            }
            // Nothing keeps a worker of this one from anything.
            BrokerToTemplate::Probe { worker, .. } => {
                let cause = LossCause::Exit(0);
                link.send(&TemplateToBroker::Exited { worker, cause }, &[])?;
            }
            BrokerToTemplate::Rules(_) | BrokerToTemplate::Compile => return Ok(()),
        }
    }
}

/// Starts a worker and says so, or says something else.
fn fork(
    play: &Arc<Play>,
    link: &mut Link,
    raw: &UnixDatagram,
    worker: u32,
    workers: &mut Vec<(u32, UnixDatagram)>,
) -> Result<(), ChannelError> {
    let told = TemplateToBroker::Worker { worker };
    match play.mode.as_str() {
        "template:unknown-worker" => {
            return link.send(&TemplateToBroker::Worker { worker: 4242 }, &[pipe()?.as_fd()]);
        }
        "template:silent" => return Ok(()),
        "template:rejects-late" => {
            let reason = b"no".to_vec().into();
            return link.send(&TemplateToBroker::Rejected { reason }, &[]);
        }
        "template:without-descriptor" => return Ok(say(raw, &message(&told), 0)?),
        "template:foreign-exits" | "template:sibling-exits" => {
            let cause = LossCause::Signal(11);
            let first = if play.is("template:sibling-exits") { 0 } else { 1 << 20 };
            for worker in (first..first + 1000).filter(|other| *other != worker) {
                link.send(&TemplateToBroker::Exited { worker, cause }, &[])?;
            }
        }
        _ => {}
    }
    if let Some(surplus) = play.number("template:descriptors-") {
        return Ok(say(raw, &message(&told), surplus)?);
    }
    if let Some(connection) = odd_connection(play)? {
        return link.send(&told, &[connection.as_fd()]);
    }
    let (ours, theirs) = Channel::<WorkerToOpener, OpenerToWorker>::pair()?;
    workers.push((worker, UnixDatagram::from(ours.as_fd().try_clone_to_owned()?)));
    link.send(&told, &[theirs.as_fd()])?;
    if play.is("template:worker-twice") {
        link.send(&told, &[theirs.as_fd()])?;
    }
    drop(theirs);
    let (play, raw) = (Arc::clone(play), raw.try_clone()?);
    let exited = move |cause| say(&raw, &message(&TemplateToBroker::Exited { worker, cause }), 0);
    if play.is("template:exits-at-once") {
        exited(LossCause::Signal(11))?;
    }
    std::thread::spawn(move || {
        worker::run(&play, ours);
        let _ = exited(LossCause::Exit(0));
    });
    Ok(())
}

/// What is no connection of a worker.
fn odd_connection(play: &Play) -> Result<Option<OwnedFd>, ChannelError> {
    let pair = |kind| {
        let flags = SockFlag::SOCK_CLOEXEC;
        socketpair(AddressFamily::Unix, kind, None, flags).map_err(std::io::Error::from)
    };
    Ok(Some(match play.mode.as_str() {
        "template:pipe" => pipe()?,
        "template:file" => file()?,
        "template:datagram" => pair(SockType::Datagram)?.0,
        "template:own-client" => connect_seqpacket(&play.runtime.join(paths::CLIENT_SOCKET))?,
        // Made by whoever started this process.
        "template:foreign-socket" => std::io::stdin().as_fd().try_clone_to_owned()?,
        _ => return Ok(None),
    }))
}

/// The table of rule names.
fn table(play: &Play) -> Result<OwnedFd, ChannelError> {
    let names = if play.is("template:false-names") { ["False_Name", "Other"] } else { NAMES };
    let mut bytes = RuleTable::encode(names).map_err(std::io::Error::other)?;
    let entry =
        |pattern: &str| RuleEntry { patterns: vec![pattern.into()], ..RuleEntry::default() };
    let entries = RuleEntries::encode([entry("$eicar"), entry("$second")], 1 << 20);
    match play.mode.as_str() {
        "template:malformed-entries" => bytes.extend([9; 30]),
        "template:no-entries" => {}
        _ => bytes.extend(entries.unwrap_or_default()),
    }
    if play.is("template:malformed-table") {
        bytes = RuleTable::encode(names).map_err(std::io::Error::other)?;
        bytes.truncate(bytes.len() - 3);
    }
    if play.is("template:table-is-a-file") {
        return Ok(file()?);
    }
    if play.is("template:table-is-a-pipe") {
        return Ok(pipe()?);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("table", flags).map_err(std::io::Error::from)?;
    let mut memory = File::from(memory);
    memory.write_all(&bytes)?;
    if play.is("template:huge-table") {
        ftruncate(&memory, 1 << 40).map_err(std::io::Error::from)?;
    }
    let seals = match play.mode.as_str() {
        "template:unsealed-table" => SealFlags::empty(),
        // A mapping that was made before can still write.
        "template:writable-table" => SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW,
        "template:growing-table" => SealFlags::WRITE | SealFlags::SHRINK,
        _ => SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    };
    fcntl_add_seals(&memory, seals).map_err(std::io::Error::from)?;
    Ok(memory.into())
}
