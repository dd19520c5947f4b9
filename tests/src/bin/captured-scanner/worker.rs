//! A worker: judges by a search for EICAR, and answers in one of many wrong ways.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Answer, Evidence, Examined, Finding, Job, OpenerToWorker, Place, Wanted, WorkerToOpener,
};
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
        let (message, files) = link.receive()?;
        let jobs = message.jobs().iter().zip(files);
        let wanted = message.wanted();
        if wanted.is_any() {
            let answers = jobs.map(|(job, file)| examine(play, job, file, wanted)).collect();
            let answers: Vec<Examined> = answers;
            if play.is("worker:evidence-not-told") {
                let plain = answers.into_iter().map(|examined| examined.answer).collect();
                link.send(&WorkerToOpener::Answers(plain), &[])?;
            } else {
                link.send(&WorkerToOpener::Examined(answers), &[])?;
            }
            continue;
        }
        let answers: Vec<Answer> = jobs.map(|(job, file)| judge(job, file).0).collect();
        if play.is("worker:evidence-unasked") {
            let evidence = Evidence::default;
            let examined =
                answers.into_iter().map(|answer| Examined { answer, evidence: evidence() });
            link.send(&WorkerToOpener::Examined(examined.collect()), &[])?;
            continue;
        }
        if !reply(play, link, raw, answers)? {
            return Ok(());
        }
    }
}

/// The verdict that is right, with the hash that each file has for this scanner and the place of EICAR;
/// or with what cannot be.
fn examine(play: &Play, job: &Job, file: OwnedFd, wanted: Wanted) -> Examined {
    let (answer, at) = judge(job, file);
    let size = job.stamp.size;
    let length = u64::try_from(EICAR.len()).unwrap_or(0);
    let data = if wanted.data { EICAR[..64].to_vec() } else { Vec::new() };
    let place = Place { rule: 0, pattern: 0, offset: at.unwrap_or(0), length, data: data.into() };
    let good = at.filter(|_| wanted.matches).map(|_| place.clone());
    let mut evidence = Evidence {
        sha256: wanted.sha256.then_some([7; 32]),
        places: good.into_iter().collect(),
        cut: false,
    };
    let mut lie = |place: Place| evidence.places = vec![place];
    match play.mode.as_str() {
        // Beside a verdict that is right.
        "worker:place-beyond" => lie(Place { offset: size + 1 - length.min(size), ..place }),
        "worker:place-overflows" => lie(Place { offset: u64::MAX, ..place }),
        "worker:place-endless" => lie(Place { length: u64::MAX, ..place }),
        "worker:no-such-pattern" => lie(Place { pattern: 1, ..place }),
        "worker:place-of-another-rule" => lie(Place { rule: 1, ..place }),
        "worker:place-without-data" => lie(Place { data: Vec::new().into(), ..place }),
        "worker:no-hash" => evidence.sha256 = None,
        _ => {}
    }
    Examined { answer, evidence }
}

/// The verdict that is right, and where EICAR begins.
fn judge(job: &Job, file: OwnedFd) -> (Answer, Option<u64>) {
    let size = job.stamp.size;
    let answer = |finding| (Answer { id: job.id, read: size, finding }, None);
    if Stamp::take(&file) != Ok(job.stamp) {
        return answer(Finding::Unstable(Change::Modified));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    match File::from(file).read_exact_at(&mut bytes, 0) {
        Err(error) => answer(Finding::ReadError(error.raw_os_error().unwrap_or(5))),
        Ok(()) => match bytes.windows(EICAR.len()).position(|part| part == EICAR) {
            Some(at) => (answer(Finding::Match(vec![0])).0, u64::try_from(at).ok()),
            None => answer(Finding::Clean),
        },
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
