//! A worker that says whatever it likes to an opener that has passed files to it.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

use fdbroker_broker::opener::batch::{Batch, Pending};
use fdbroker_broker::opener::fleet::{Generation, Worker};
use fdbroker_broker::opener::open::{Designated, OpenContext, VettedFile, open_target};
use fdbroker_broker::opener::reports::Client;
use fdbroker_broker::opener::scan::Scan;
use fdbroker_common::channel::Channel;
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Report, ScanOptions};
use fdbroker_common::fdpass;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{Answer, Finding, OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::limits::FILE_BYTES_MAX;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::wire::decode;
use rustix::fs::{MemfdFlags, memfd_create};

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

/// What an opener may believe of these packets, if the worker has so many jobs, numbered from 0.
fn believable(packets: &[&[u8]], jobs: usize) -> Vec<Answer> {
    let mut believed = Vec::new();
    let mut announced = false;
    for packet in packets {
        match (decode::<WorkerToOpener>(packet), announced) {
            (Ok(WorkerToOpener::Ready(id)), false) if id == GENERATION => announced = true,
            (Ok(WorkerToOpener::Answers(answers)), true) => {
                for answer in answers {
                    let exist = match &answer.finding {
                        Finding::Match(rules) => rules.iter().all(|rule| {
                            usize::try_from(*rule).is_ok_and(|rule| rule < RULES.len())
                        }),
                        _ => true,
                    };
                    let is_next = usize::try_from(answer.id) == Ok(believed.len());
                    if believed.len() >= jobs || !is_next || !exist {
                        return believed;
                    }
                    believed.push(answer);
                }
            }
            _ => return believed,
        }
    }
    believed
}

/// A worker with one to eight files speaks. The first byte says how many files, the second what becomes
/// of the worker afterwards; then follow packets.
pub fn worker_answers(data: &[u8]) {
    let [count, cause, data @ ..] = data else {
        return;
    };
    let count = 1 + usize::from(*count) % FILES_MAX;
    let table = Rc::new(RuleTable::decode(&RuleTable::encode(RULES).unwrap()).unwrap());
    let (mut theirs, ours) = Channel::<WorkerToOpener, OpenerToWorker>::pair().expect("a pair");
    let generation =
        Generation { id: GENERATION, rules: 3, wants_names: false, table: Rc::clone(&table) };
    let mut worker = Worker::adopt(1, ours, generation).expect("a connection");
    let batch = Batch { files: (0..count).map(pending).collect() };
    assert!(worker.pass(batch, FILE_BYTES_MAX).is_none());
    let (OpenerToWorker::Scan(jobs), _) = theirs.receive().expect("jobs");
    assert!(jobs.iter().map(|job| job.id).eq(0..u32::try_from(count).unwrap()));

    let theirs = UnixDatagram::from(theirs.into_descriptor());
    let packets = packets(data);
    let mut answered = Vec::new();
    for packet in &packets {
        fdpass::send(&theirs, packet, &[]).expect("room for a few packets");
        answered.extend(worker.hear());
    }
    let believed: Vec<Answer> = answered.iter().map(|(_, answer)| answer.clone()).collect();
    assert_eq!(believed, believable(&packets, count));
    let targets = answered.iter().map(|(pending, _)| pending.target);
    assert!(targets.eq(0..u32::try_from(believed.len()).unwrap()), "each file once, in order");
    assert_eq!(worker.is_idle(), believed.len() == count);
    assert_reported(answered, &believed, &table);
    let leftovers = worker.leftovers(match cause % 4 {
        0 => LossCause::Killed,
        1 => LossCause::Signal(11),
        2 => LossCause::Exit(1),
        _ => LossCause::Unknown,
    });
    assert_eq!(leftovers.len(), count - believed.len(), "no file is lost");
}

/// What the client is told of these answers.
fn assert_reported(answered: Vec<(Pending, Answer)>, believed: &[Answer], table: &RuleTable) {
    if answered.is_empty() {
        return;
    }
    let (mut theirs, ours) = Channel::<ClientToOpener, OpenerToClient>::pair().expect("a pair");
    let mut client = Client::new(Channel::adopt(ours).expect("a connection"));
    let context = Rc::new(OpenContext::new().expect("/proc"));
    let mut scan = Scan::new(ScanOptions::default(), None, context).expect("no options");
    for (pending, answer) in answered {
        scan.answered(&mut client, pending, answer, table);
    }
    client.gather();
    client.flush().expect("room for a report");
    let mut reports: Vec<Report> = Vec::new();
    while reports.len() < believed.len() {
        match theirs.receive().expect("reports").0 {
            OpenerToClient::Reports(more) => reports.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reports.len(), believed.len());
    for (report, answer) in reports.iter().zip(believed) {
        let read_whole = answer.finding == Finding::Clean && answer.read == SIZE;
        assert_eq!(report.outcome == Outcome::Clean, read_whole, "{answer:?}");
        if let Outcome::Match { rules } = &report.outcome {
            let known = |rule: &String| RULES.contains(&rule.as_str());
            assert!(matches!(answer.finding, Finding::Match(_)) && rules.iter().all(known));
        }
    }
}
