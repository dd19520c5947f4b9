//! A template: one generation of rules, compiled once, and the workers forked from it.
//!
//! Runs as the scanner's user. Before it reads a byte from outside it gives up files, network and
//! privileges; once the rules are compiled it gives up new code, threads and programs; then it shows
//! that it still finds the test file, and only then it says `Ready`. It never sees a caller's file.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use fdbroker_common::channel::ChannelError;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::scanner_link::{BrokerToTemplate, TemplateToBroker};
use fdbroker_common::stdio;
use log::{debug, error, info, warn};
use rustix::event::{PollFd, PollFlags, poll};

use crate::children::{Children, Seat, Spawned, Task};
use crate::engine::Engine;
use crate::engine::compile::{self, Compiled};
use crate::engine::describe::describe;
use crate::engine::eicar::{self, SelfTestError};
use crate::engine::yara::Yara;
use crate::memory;
use crate::names::{self, NamesError};
use crate::seal::identity::{self, Unprivileged};
use crate::seal::{self, Confined, SealError, TemplateSealed};
use crate::signals;
use crate::sources::{self, Link, Rejection, SourceError};
use crate::worker;

/// Why a template ends without having been told to.
#[derive(Debug, thiserror::Error)]
enum TemplateError {
    #[error("cannot seal this process: {0}")]
    Seal(#[from] SealError),
    #[error("{0}")]
    Sources(#[from] SourceError),
    #[error("rules rejected: {0}")]
    Rejected(String),
    #[error("{0}")]
    SelfTest(#[from] SelfTestError),
    #[error("link to the broker: {0}")]
    Link(#[from] ChannelError),
    #[error("the broker compiled rules twice")]
    Order,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A template that serves.
struct Ready {
    engine: Yara,
    generation: GenerationId,
    sealed: TemplateSealed,
}

/// Runs a template, and each worker that it forks, to the end. A worker's engine is what `wrap` makes
/// of ours.
#[must_use]
pub fn run<E: Engine>(user: Unprivileged, parent: u32, wrap: impl FnOnce(Yara) -> E) -> ExitCode {
    match live(&user, parent) {
        Ok((seat, ready)) => worker::run(seat, wrap(ready.engine), ready.generation),
        Err(
            TemplateError::Link(ChannelError::Closed)
            | TemplateError::Sources(SourceError::Link(ChannelError::Closed)),
        ) => {
            debug!("no longer needed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns in a new worker, which leaves with nothing of its template's but memory; a template ends
/// with an error, of which [`ChannelError::Closed`] is the ordinary one.
fn live(user: &Unprivileged, parent: u32) -> Result<(Seat, Ready), TemplateError> {
    identity::close_inherited()?;
    signals::unblock().map_err(io::Error::from)?;
    let mut link: Link = stdio::take_channel()?;
    let confined = seal::confine(user, parent)?;
    nix::sys::prctl::set_name(c"fdscand-template").map_err(io::Error::from)?;
    let ready = match prepare(&mut link, confined)? {
        Ok(ready) => ready,
        Err(rejection) => {
            let reason = rejection.as_str().as_bytes().to_vec().into();
            link.send(&TemplateToBroker::Rejected { reason }, &[])?;
            return Err(TemplateError::Rejected(rejection.as_str().to_owned()));
        }
    };
    let seat = serve(link, Children::default(), &ready.sealed)?;
    Ok((seat, ready))
}

/// From rule files to `Ready`. The inner error is about the rules.
fn prepare(link: &mut Link, confined: Confined) -> Result<Result<Ready, Rejection>, TemplateError> {
    let compiled = match sources::receive(link)?.and_then(|sources| compile::compile(&sources)) {
        Ok(compiled) => compiled,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let Compiled { rules, generation, wants_names, warnings } = compiled;
    let identifiers = rules.iter().map(|rule| rule.identifier());
    let table = match names::sealed_table(identifiers, |room| describe(&rules, room)) {
        Ok(table) => table,
        Err(NamesError::Table(error)) => {
            return Ok(Err(Rejection::new(b"rules", None, &error.to_string())));
        }
        Err(NamesError::System(error)) => return Err(error.into()),
    };
    let count = u32::try_from(rules.iter().count()).unwrap_or(u32::MAX);
    // They live as long as the process, and the processes forked from it.
    let mut engine = Yara::new(Box::leak(Box::new(rules)), wants_names);
    memory::give_back();
    let sealed = seal::template(&confined)?;
    drop(confined);
    eicar::self_test(&mut engine)?;
    let ready = TemplateToBroker::Ready { generation, rules: count, wants_names };
    link.send(&ready, &[table.as_fd()])?;
    info!(
        "generation {generation}: {count} rules, {warnings} compiler warnings; sealed and tested"
    );
    Ok(Ok(Ready { engine, generation, sealed }))
}

/// Forks, kills and reaps on demand. Link and list by value: a new worker drops them on its way out.
fn serve(
    mut link: Link,
    mut children: Children,
    sealed: &TemplateSealed,
) -> Result<Seat, TemplateError> {
    attend(&mut link, &mut children, sealed).inspect_err(|_| children.kill_all())
}

fn attend(
    link: &mut Link,
    children: &mut Children,
    sealed: &TemplateSealed,
) -> Result<Seat, TemplateError> {
    loop {
        let said = wait(link, children)?;
        while let Some((worker, cause)) = children.reap() {
            link.send(&TemplateToBroker::Exited { worker, cause }, &[])?;
        }
        if said && let Some(seat) = obey(link, children, sealed)? {
            return Ok(seat);
        }
    }
}

/// Waits for any event; true when the broker has said something.
fn wait(link: &Link, children: &Children) -> io::Result<bool> {
    let mut events = vec![PollFd::new(link, PollFlags::IN)];
    let ends = children.ends();
    events.extend(ends.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
    match poll(&mut events, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(events.first().is_some_and(|link| !link.revents().is_empty()))
}

/// One message of the broker. A seat is returned in the new worker only.
fn obey(
    link: &mut Link,
    children: &mut Children,
    sealed: &TemplateSealed,
) -> Result<Option<Seat>, TemplateError> {
    let (message, mut files) = match link.receive() {
        Err(ChannelError::WouldBlock) => return Ok(None),
        result => result?,
    };
    match message {
        BrokerToTemplate::Fork { worker } => match children.spawn(sealed, worker, Task::Serve) {
            Ok(Spawned::Worker(seat)) => return Ok(Some(seat)),
            Ok(Spawned::Template(opener)) => {
                link.send(&TemplateToBroker::Worker { worker }, &[opener.as_fd()])?;
            }
            Err(error) => {
                warn!("worker {worker} cannot be forked: {error}");
                let cause = LossCause::Unknown;
                link.send(&TemplateToBroker::Exited { worker, cause }, &[])?;
            }
        },
        BrokerToTemplate::Kill { worker } => children.kill(worker),
        BrokerToTemplate::Probe { worker, act } => {
            let file = files.pop().ok_or(TemplateError::Order)?;
            match children.spawn(sealed, worker, Task::Probe(act, file)) {
                Ok(Spawned::Worker(seat)) => return Ok(Some(seat)),
                // Nobody gets its link.
                Ok(Spawned::Template(opener)) => drop(opener),
                Err(error) => {
                    warn!("probe {worker} cannot be forked: {error}");
                    let cause = LossCause::Unknown;
                    link.send(&TemplateToBroker::Exited { worker, cause }, &[])?;
                }
            }
        }
        BrokerToTemplate::Rules(_) | BrokerToTemplate::Compile => {
            return Err(TemplateError::Order);
        }
    }
    Ok(None)
}
