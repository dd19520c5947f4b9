//! A worker that says whatever it likes to an opener that has passed files to it.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

use fdbroker_broker::opener::Contents;
use fdbroker_broker::opener::batch::{Batch, Pending};
use fdbroker_broker::opener::evidence::Entries;
use fdbroker_broker::opener::fleet::{Generation, Heard, Worker};
use fdbroker_broker::opener::open::{Designated, OpenContext, VettedFile, open_target};
use fdbroker_broker::opener::reports::Client;
use fdbroker_broker::opener::scan::Scan;
use fdbroker_common::channel::Channel;
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Report, ScanOptions};
use fdbroker_common::details::{DetailOptions, Details};
use fdbroker_common::fdpass;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Evidence, Examined, Finding, OpenerToWorker, Place, Wanted, WorkerToOpener,
};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::limits::FILE_BYTES_MAX;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::rule_table::{RuleEntries, RuleEntry, RuleTable};
use fdbroker_common::wire::decode;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::packets;

/// The rules that the worker is said to have.
pub const GENERATION: GenerationId = GenerationId([7; 16]);
/// Their names.
pub const RULES: [&str; 3] = ["One", "Two", "Three"];
/// How large each file is.
pub const SIZE: u64 = 4;
/// Most files that it is passed.
const FILES_MAX: usize = 8;

thread_local! {
    static STAGE: OnceCell<(Rc<OpenContext>, OwnedFd)> = const { OnceCell::new() };
}

fn file() -> VettedFile {
    STAGE.with(|stage| {
        let (context, file) = stage.get_or_init(|| {
            let context = Rc::new(OpenContext::new().expect("/proc"));
            let file = memfd_create("file", MemfdFlags::CLOEXEC).expect("memfd");
            rustix::io::write(&file, b"four").expect("write");
            (context, file)
        });
        match open_target(file.try_clone().expect("dup"), context) {
            Designated::File(file) => file,
            other => panic!("{other:?}"),
        }
    })
}

fn pending(target: usize) -> Pending {
    Pending {
        target: u32::try_from(target).expect("few files"),
        path: Vec::new(),
        target_name: b"name".to_vec().into(),
        file: file(),
        suspect: false,
        doubted: false,
        interruptions: 0,
    }
}

/// The rules; each has one pattern.
fn generation() -> Generation {
    let names = RuleTable::encode(RULES).expect("names");
    let entry = |_| RuleEntry { patterns: vec!["$a".to_owned()], ..RuleEntry::default() };
    let entries = RuleEntries::encode(RULES.map(entry), 1 << 20).expect("entries");
    let bytes = [names.as_slice(), &entries].concat();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("table", flags).expect("memfd");
    rustix::io::write(&file, &bytes).expect("write");
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
    fcntl_add_seals(&file, seals).expect("seal");
    let table = Rc::new(RuleTable::read(&file).expect("a table"));
    let entries = Rc::new(Entries::of(file));
    Generation { id: GENERATION, rules: 3, wants_names: false, table, entries }
}

/// Whether an opener may believe this of a file of [`SIZE`].
fn is_believable(examined: &Examined, wanted: Wanted) -> bool {
    let Examined { answer, evidence } = examined;
    let rules: &[u32] = match &answer.finding {
        Finding::Match(rules) => rules,
        _ => &[],
    };
    let judged =
        matches!(answer.finding, Finding::Clean | Finding::Match(_) | Finding::EngineError);
    let has_hash = wanted.sha256 && judged && answer.read == SIZE;
    let quoted = |place: &Place| if wanted.data { place.length.min(64) } else { 0 };
    let good = |place: &Place| {
        let end = place.offset.checked_add(place.length);
        let exists = rules.contains(&place.rule) && place.pattern == 0;
        exists && end.is_some_and(|end| end <= SIZE) && place.data.len() as u64 == quoted(place)
    };
    let possible = answer.read <= SIZE + 1
        && !matches!(answer.finding, Finding::ReadError(errno) if !(1..4096).contains(&errno));
    possible
        && rules.iter().all(|rule| *rule < 3)
        && evidence.sha256.is_some() == has_hash
        && (wanted.matches || evidence.places.is_empty())
        && evidence.places.iter().all(good)
}

/// What an opener may believe of these packets, if the worker has so many jobs, numbered from 0.
fn believable(packets: &[&[u8]], jobs: usize, wanted: Wanted) -> Vec<Examined> {
    let mut believed = Vec::new();
    let mut announced = false;
    for packet in packets {
        match (decode::<WorkerToOpener>(packet), announced) {
            (Ok(WorkerToOpener::Ready(id)), false) if id == GENERATION => announced = true,
            (Ok(message), true) => {
                let answers = match message {
                    WorkerToOpener::Answers(answers) if !wanted.is_any() => {
                        let plain = |answer| Examined { answer, evidence: Evidence::default() };
                        answers.into_iter().map(plain).collect()
                    }
                    WorkerToOpener::Examined(answers) if wanted.is_any() => answers,
                    _ => return believed,
                };
                for examined in answers {
                    let is_next = usize::try_from(examined.answer.id) == Ok(believed.len());
                    if believed.len() >= jobs || !is_next || !is_believable(&examined, wanted) {
                        return believed;
                    }
                    believed.push(examined);
                }
            }
            _ => return believed,
        }
    }
    believed
}

/// A worker with one to eight files speaks. The first byte says how many files, the second what becomes
/// of the worker afterwards and what is wanted of it; then follow packets.
pub fn worker_answers(data: &[u8]) {
    let [count, cause, data @ ..] = data else {
        return;
    };
    let count = 1 + usize::from(*count) % FILES_MAX;
    let options =
        DetailOptions { sha256: cause & 4 != 0, matches: cause & 8 != 0, rules: cause & 16 != 0 };
    let mut scan = scan(options, cause & 32 != 0);
    let wanted = scan.wanted();
    if cause & 32 == 0 {
        assert!(!wanted.sha256 && !wanted.data, "contents are withheld unless they are shown");
    }
    let generation = generation();
    let (mut theirs, ours) = Channel::<WorkerToOpener, OpenerToWorker>::pair().expect("a pair");
    let mut worker = Worker::adopt(1, ours, generation.clone()).expect("a connection");
    let batch = Batch { files: (0..count).map(pending).collect() };
    assert!(worker.pass(batch, FILE_BYTES_MAX, wanted).is_none());
    let (message, _): (OpenerToWorker, _) = theirs.receive().expect("jobs");
    assert_eq!(message.wanted(), wanted);
    let jobs = message.jobs();
    assert!(jobs.iter().map(|job| job.id).eq(0..u32::try_from(count).unwrap()));

    let theirs = UnixDatagram::from(theirs.into_descriptor());
    let packets = packets(data);
    let mut answered = Vec::new();
    for packet in &packets {
        fdpass::send(&theirs, packet, &[]).expect("room for a few packets");
        answered.extend(worker.hear());
    }
    let examined =
        |heard: &Heard| Examined { answer: heard.answer.clone(), evidence: heard.evidence.clone() };
    let believed: Vec<Examined> = answered.iter().map(examined).collect();
    assert_eq!(believed, believable(&packets, count, wanted));
    let targets = answered.iter().map(|heard| heard.pending.target);
    assert!(targets.eq(0..u32::try_from(believed.len()).unwrap()), "each file once, in order");
    assert_eq!(worker.is_idle(), believed.len() == count);
    assert_reported(&mut scan, answered, &believed, &generation);
    let leftovers = worker.leftovers(match cause % 4 {
        0 => LossCause::Killed,
        1 => LossCause::Signal(11),
        2 => LossCause::Exit(1),
        _ => LossCause::Unknown,
    });
    assert_eq!(leftovers.len(), count - believed.len(), "no file is lost");
}

fn scan(details: DetailOptions, shows_contents: bool) -> Scan {
    let context = Rc::new(OpenContext::new().expect("/proc"));
    let options = ScanOptions { details, ..ScanOptions::default() };
    let mut scan = Scan::new(options, None, context).expect("no options");
    if shows_contents {
        scan.set_contents(Contents::Shown);
    }
    scan
}

/// What the client is told of these answers.
fn assert_reported(
    scan: &mut Scan,
    answered: Vec<Heard>,
    believed: &[Examined],
    generation: &Generation,
) {
    if answered.is_empty() {
        return;
    }
    let (mut theirs, ours) = Channel::<ClientToOpener, OpenerToClient>::pair().expect("a pair");
    let mut client = Client::new(Channel::adopt(ours).expect("a connection"));
    for heard in answered {
        scan.answered(&mut client, heard, generation);
    }
    client.gather();
    client.flush().expect("room for a report");
    let mut reports: Vec<(Report, Details)> = Vec::new();
    while reports.len() < believed.len() {
        match theirs.receive().expect("reports").0 {
            OpenerToClient::Reports(more) => {
                reports.extend(more.into_iter().map(|report| (report, Details::default())));
            }
            OpenerToClient::Detailed(more) => reports.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reports.len(), believed.len());
    for ((report, details), Examined { answer, evidence }) in reports.iter().zip(believed) {
        let read_whole = answer.finding == Finding::Clean && answer.read == SIZE;
        assert_eq!(report.outcome == Outcome::Clean, read_whole, "{answer:?}");
        if let Outcome::Match { rules } = &report.outcome {
            let known = |rule: &String| RULES.contains(&rule.as_str());
            assert!(matches!(answer.finding, Finding::Match(_)) && rules.iter().all(known));
            let named = |rule: u32| (rule as usize) < rules.len();
            assert!(details.matches.iter().all(|found| named(found.rule)));
        }
        assert_eq!(details.sha256, evidence.sha256);
        assert_eq!(details.matches.len(), evidence.places.len());
        let shown = scan.wanted().data;
        assert!(shown || evidence.places.iter().all(|place| place.data.is_empty()));
        assert!(details.matches.iter().all(|found| shown || found.data.is_none()));
    }
}
