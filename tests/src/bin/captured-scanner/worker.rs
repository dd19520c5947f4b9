//! A worker: judges by a search for EICAR, and answers in one of many wrong ways.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{Answer, Finding, Job, OpenerToWorker, WorkerToOpener};
use fdbroker_common::outcome::Change;
use fdbroker_common::stamp::Stamp;
use fdbroker_tests::files::EICAR;

use crate::template::GENERATION;
use crate::{Play, message, say};

type Link = Channel<WorkerToOpener, OpenerToWorker>;

/// Serves until the opener, or whoever broke the protocol, ends it.
pub fn run(play: &Play, mut link: Link) {
    let raw = link.as_fd().try_clone_to_owned().map(UnixDatagram::from);
    if let Ok(raw) = raw {
        // How it ends is seen by the opener.
        let _ = live(play, &mut link, &raw);
    }
}

fn live(play: &Play, link: &mut Link, raw: &UnixDatagram) -> Result<(), ChannelError> {
    let ready = WorkerToOpener::Ready(GENERATION);
    match play.mode.as_str() {
        "worker:closes-at-once" => return Ok(()),
        "worker:not-ready" => {}
        "worker:wrong-generation" => {
            link.send(&WorkerToOpener::Ready(GenerationId([9; 16])), &[])?
        }
        "worker:flood-of-ready" => loop {
            link.send(&ready, &[])?;
        },
        "worker:ready-twice" => {
            link.send(&ready, &[])?;
            link.send(&ready, &[])?;
        }
        "worker:noise" => say(raw, &[0xee; 100], 2)?,
        "worker:answers-unasked" => {
            link.send(&ready, &[])?;
            let answer = |id| Answer { id, read: 0, finding: Finding::Clean };
            link.send(&WorkerToOpener::Answers((0..64).map(answer).collect()), &[])?;
        }
        _ => link.send(&ready, &[])?,
    }
    loop {
        let (OpenerToWorker::Scan(jobs), files) = link.receive()?;
        let answers = jobs.iter().zip(files).map(|(job, file)| judge(job, file)).collect();
        if !reply(play, link, raw, answers)? {
            return Ok(());
        }
    }
}

/// The verdict that is right.
fn judge(job: &Job, file: OwnedFd) -> Answer {
    let size = job.stamp.size;
    let answer = |finding| Answer { id: job.id, read: size, finding };
    if Stamp::take(&file) != Ok(job.stamp) {
        return answer(Finding::Unstable(Change::Modified));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    match File::from(file).read_exact_at(&mut bytes, 0) {
        Err(error) => answer(Finding::ReadError(error.raw_os_error().unwrap_or(5))),
        Ok(()) if bytes.windows(EICAR.len()).any(|part| part == EICAR) => {
            answer(Finding::Match(vec![0]))
        }
        Ok(()) => answer(Finding::Clean),
    }
}

/// Answers a batch. False: it has said enough.
fn reply(
    play: &Play,
    link: &mut Link,
    raw: &UnixDatagram,
    mut answers: Vec<Answer>,
) -> Result<bool, ChannelError> {
    if let Some(surplus) = play.number("worker:descriptors-") {
        say(raw, &message(&WorkerToOpener::Answers(answers)), surplus)?;
        return Ok(true);
    }
    let last = answers.last().map_or(0, |answer| answer.id);
    match play.mode.as_str() {
        // Nobody asked: as if it knew what another opener is about.
        "worker:foreign-job" => answers.iter_mut().for_each(|answer| answer.id += 1),
        "worker:unknown-job" => answers.iter_mut().for_each(|answer| answer.id ^= 1 << 31),
        "worker:twice" => {
            answers = answers.iter().flat_map(|answer| [answer.clone(), answer.clone()]).collect()
        }
        "worker:backwards" => {
            // A single answer has no order.
            answers.insert(0, Answer { id: last + 1, read: 0, finding: Finding::Clean });
            answers.reverse();
        }
        "worker:more-answers" => {
            let more = (1..4).map(|n| Answer { id: last + n, read: 0, finding: Finding::Clean });
            answers.extend(more);
        }
        "worker:reads-less" => {
            for answer in &mut answers {
                answer.finding = Finding::Clean;
                answer.read = answer.read.saturating_sub(1);
            }
        }
        "worker:reads-more" => {
            for answer in &mut answers {
                answer.finding = Finding::Clean;
                answer.read += 1;
            }
        }
        "worker:no-such-rule" => set(&mut answers, &Finding::Match(vec![0, 99])),
        "worker:unsorted-rules" => {
            set(&mut answers, &Finding::Match(vec![5, 6]));
            let mut bytes = message(&WorkerToOpener::Answers(answers));
            let last = bytes.len() - 1;
            bytes.swap(last, last - 1);
            say(raw, &bytes, 0)?;
            return Ok(true);
        }
        "worker:half" => {
            let bytes = message(&WorkerToOpener::Answers(answers));
            say(raw, &bytes[..bytes.len() / 2], 0)?;
            return Ok(true);
        }
        "worker:silent" => return Ok(true),
        "worker:closes" => {
            answers.truncate(answers.len() / 2);
            if !answers.is_empty() {
                link.send(&WorkerToOpener::Answers(answers), &[])?;
            }
            return Ok(false);
        }
        "worker:closes-first" => return Ok(false),
        "worker:flood" => loop {
            link.send(&WorkerToOpener::Answers(answers.clone()), &[])?;
        },
        _ => {}
    }
    link.send(&WorkerToOpener::Answers(answers), &[])?;
    Ok(true)
}

fn set(answers: &mut [Answer], finding: &Finding) {
    for answer in answers {
        answer.finding = finding.clone();
    }
}
