//! A worker: reads files by descriptor and judges them, sealed, for one caller at a time.
//!
//! Forked from a template, as the scanner's user, inside its confinement. It can read what it is
//! passed, compute, and answer on one socket; it cannot open, connect, execute, fork or signal.
//! Anything that is not a well-formed job ends it.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Instant;

use fdbroker_common::channel::ChannelError;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Answer, EXIT_WITHOUT_ROOM, Evidence, Examined, Finding, Job, Wanted, WorkerToOpener,
};
use log::error;
use sha2::{Digest, Sha256};

use crate::children::{Seat, Task};
use crate::engine::eicar::{self, SelfTestError};
use crate::engine::places::{self, Places};
use crate::engine::{Engine, Verdict};
use crate::input::{Buffer, Found, VettedFile};
use crate::journal::{self, Role};
use crate::outbox::{Link, Outbox};
use crate::prefetch::Prefetch;
use crate::probe;
use crate::seal::{self, SealError, Sealed, identity};

/// Answers do not wait for a file larger than this.
const LARGE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("cannot seal this process: {0}")]
    Seal(#[from] SealError),
    #[error("{0}")]
    SelfTest(#[from] SelfTestError),
    #[error("job link: {0}")]
    Link(#[from] ChannelError),
}

/// Runs a worker to its end, in a process forked for it.
#[must_use]
pub fn run(seat: Seat, engine: impl Engine, generation: GenerationId) -> ExitCode {
    journal::speak_as(Role::Worker);
    let Seat { link, words, parent, task } = seat;
    let end = settle(words, parent).map_err(WorkerError::from).and_then(|()| match task {
        Task::Serve => live(link, engine, generation).map(|never| match never {}),
        Task::Probe(act, file) => Ok(probe::run(link.as_fd(), act, file)?),
    });
    match end {
        Ok(code) => code,
        Err(WorkerError::Link(ChannelError::Closed)) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            match error {
                WorkerError::Link(ChannelError::DescriptorsLost) => EXIT_WITHOUT_ROOM.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// What every worker does before it is sealed.
fn settle(words: OwnedFd, parent: u32) -> Result<(), SealError> {
    let system = |what| move |error| SealError::System(what, error);
    nix::unistd::dup2_stderr(&words).map_err(system("standard error"))?;
    drop(words);
    identity::die_with(parent)?;
    nix::sys::prctl::set_name(c"fdscand-worker").map_err(system("name"))
}

fn live(
    mut link: Link,
    mut engine: impl Engine,
    generation: GenerationId,
) -> Result<std::convert::Infallible, WorkerError> {
    let sealed = seal::worker(link.as_fd())?;
    eicar::self_test(&mut engine)?;
    link.send(&WorkerToOpener::Ready(generation), &[])?;
    serve(&sealed, link, engine)
}

/// Batch after batch, until the opener closes.
fn serve(
    _sealed: &Sealed,
    mut link: Link,
    mut engine: impl Engine,
) -> Result<std::convert::Infallible, WorkerError> {
    let mut outbox = Outbox::new();
    let mut buffer = Buffer::default();
    let mut prefetch = Prefetch::default();
    loop {
        let (message, files) = link.receive()?;
        let (jobs, wanted) = (message.jobs(), message.wanted());
        outbox.restart_clock();
        prefetch.begin(jobs, &files);
        let mut files = files.into_iter();
        for (nth, job) in jobs.iter().enumerate() {
            let Some(file) = files.next() else {
                break;
            };
            let examined = match VettedFile::vet(&file, job) {
                Ok(vetted) => {
                    if vetted.size() > LARGE_BYTES {
                        outbox.flush(&mut link)?;
                    }
                    let begun = Instant::now();
                    let data = vetted.read(&mut buffer);
                    let rest = jobs.get(nth + 1..).unwrap_or_default();
                    prefetch.read((vetted.size(), begun.elapsed()), rest, files.as_slice());
                    let examined = judge(&vetted, (job, wanted), data, &mut engine);
                    buffer.shrink();
                    examined
                }
                Err(found) => answer(job, found),
            };
            close(file);
            outbox.push(&mut link, examined, wanted)?;
        }
        outbox.flush(&mut link)?;
    }
}

/// Now, not at the end of the batch: while it is open here, its owner cannot be rid of it.
fn close(file: OwnedFd) {
    drop(file);
}

fn judge(
    file: &VettedFile<'_>,
    (job, wanted): (&Job, Wanted),
    data: Result<&[u8], Found>,
    engine: &mut impl Engine,
) -> Examined {
    let data = match data {
        Ok(data) => data,
        Err(found) => return answer(job, found),
    };
    let name = job.name.as_ref().map(|name| name.as_slice());
    let (verdict, Places { found: mut places, cut }) = if wanted.matches {
        engine.examine(data, name)
    } else {
        (engine.scan(data, name), Places::default())
    };
    let finding = match verdict {
        // What matched did so in bytes that were there, whatever became of the file.
        Verdict::Match(rules) => Finding::Match(rules),
        Verdict::Clean => file.clean_if_unchanged(),
        Verdict::Failed => Finding::EngineError,
    };
    if wanted.data {
        places::quote(&mut places, data);
    }
    // Of what changed meanwhile there is no one content.
    let whole = !matches!(finding, Finding::Unstable(_) | Finding::ReadError(_));
    let sha256 = (wanted.sha256 && whole).then(|| Sha256::digest(data).into());
    let mut examined = answer(job, Found { finding, read: file.size() });
    examined.evidence = Evidence { sha256, places, cut };
    examined
}

fn answer(job: &Job, found: Found) -> Examined {
    let answer = Answer { id: job.id, read: found.read, finding: found.finding };
    Examined { answer, evidence: Evidence::default() }
}
