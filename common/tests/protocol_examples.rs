//! docs/protocol.md against the code: the exchange that it shows, and the numbers in its tables.

use std::collections::{BTreeMap, BTreeSet};

use fdbroker_common::admin_link::{AdminReply, AdminRequest, Status};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Report, ScanOptions, Target};
use fdbroker_common::details::Details;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Answer, Evidence, Examined, Finding, Job, OpenerToWorker, Wanted, WorkerToOpener,
};
use fdbroker_common::lease_link::{DispatcherToOpener, LossCause, OpenerToDispatcher};
use fdbroker_common::opener_link::{
    BrokerToOpener, Identity, Limits, OpenerToBroker, Subjects, TreeGrant,
};
use fdbroker_common::outcome::{Failure, Outcome, SkipReason};
use fdbroker_common::probe::Act;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::stamp::Stamp;
use fdbroker_common::totals::Totals;
use fdbroker_common::wire::{Message, WireError, decode, encode};

const PAGE: &str = include_str!("../../docs/protocol.md");

fn bytes<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).unwrap();
    bytes
}

/// A message as the page writes it.
fn line<M: Message>(direction: char, message: &M) -> String {
    let mut line = direction.to_string();
    for byte in bytes(message) {
        line.push_str(&format!(" {byte:02x}"));
    }
    if message.descriptors() > 0 {
        line.push_str(&format!(" +{}", message.descriptors()));
    }
    line
}

fn report(target: u32, path: &str, size: u64, outcome: Outcome) -> Report {
    Report { target, path: path.as_bytes().to_vec().into(), size, outcome }
}

fn target(id: u32, name: &str) -> Target {
    Target { id, name: name.as_bytes().to_vec().into() }
}

const GENERATION: GenerationId =
    GenerationId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// The exchange that the page describes in its comments.
fn exchange() -> Vec<String> {
    let options = ScanOptions {
        file_bytes_max: 10 << 20,
        file_deadline_s: 30,
        excludes: vec![b"*.o".to_vec().into()],
        ..ScanOptions::default()
    };
    let rules = vec!["EICAR_Test_File".to_owned()];
    let totals =
        Totals { clean: 1, matched: 1, skipped: 1, errors: 1, bytes: 79, ..Totals::default() };
    let told = |message: &OpenerToClient| line('<', message);
    vec![
        line('>', &ClientToOpener::Start(options)),
        line('>', &ClientToOpener::Targets(vec![target(0, "notes.txt"), target(1, "/srv")])),
        line('>', &ClientToOpener::End),
        told(&OpenerToClient::Accepted { generation: GENERATION, rules: 300 }),
        told(&OpenerToClient::Reports(vec![
            report(0, "", 11, Outcome::Clean),
            report(1, "a/b.com", 68, Outcome::Match { rules }),
        ])),
        told(&OpenerToClient::Reports(vec![
            report(1, "p", 0, Outcome::Skipped(SkipReason::Fifo)),
            report(1, "q", 5, Outcome::Error(Failure::System(5))),
        ])),
        told(&OpenerToClient::Done(totals)),
    ]
}

#[test]
fn the_exchange_on_the_page_is_what_the_code_says() {
    let (_, after) = PAGE.split_once("```hex\n").expect("the page has a block of hex");
    let (block, _) = after.split_once("```").expect("the block ends");
    let shown: Vec<&str> = block.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(shown, exchange());
}

#[test]
fn a_path_is_written_as_the_page_says() {
    assert_eq!(bytes(&trees()), [1, 0x31, 1, 0, 0, 1, 0, 4, b'/', b's', b'r', b'v', 0, 0]);
}

#[test]
fn the_exchange_on_the_page_can_be_read() {
    for line in exchange() {
        let mut words = line.split(' ');
        let direction = words.next();
        let bytes: Vec<u8> = words
            .filter(|word| !word.starts_with('+'))
            .map(|word| u8::from_str_radix(word, 16).unwrap())
            .collect();
        match direction {
            Some(">") => drop(decode::<ClientToOpener>(&bytes).unwrap()),
            _ => drop(decode::<OpenerToClient>(&bytes).unwrap()),
        }
    }
}

/// Tag, variant, name and number of descriptors of a message.
type Row = (u8, u8, String);

/// Name, then what the code makes of it.
fn row<M: Message>(name: &str, message: &M) -> Row {
    match bytes(message).as_slice() {
        [_, tag, variant, ..] => (*tag, *variant, name.to_owned()),
        short => panic!("{name}: {short:?}"),
    }
}

fn client_rows() -> Vec<Row> {
    let report = report(0, "", 0, Outcome::Clean);
    let detailed = vec![(report.clone(), Details::default())];
    vec![
        row("Start", &ClientToOpener::Start(ScanOptions::default())),
        row("Targets", &ClientToOpener::Targets(vec![target(0, "")])),
        row("End", &ClientToOpener::End),
        row("Waiting", &ClientToOpener::Waiting),
        row("PathTargets", &ClientToOpener::PathTargets(vec![target(0, "/srv")])),
        row("Refused", &OpenerToClient::Refused(Refusal::NoScanner)),
        row("Accepted", &OpenerToClient::Accepted { generation: GENERATION, rules: 0 }),
        row("Reports", &OpenerToClient::Reports(vec![report])),
        row("Progress", &OpenerToClient::Progress(Totals::default())),
        row("Done", &OpenerToClient::Done(Totals::default())),
        row("Detailed", &OpenerToClient::Detailed(detailed)),
    ]
}

fn trees() -> BrokerToOpener {
    BrokerToOpener::Trees(TreeGrant {
        subjects: Subjects::default(),
        trees: vec!["/srv".into()],
        except: Vec::new(),
        hard_links: false,
    })
}

fn opener_rows() -> Vec<Row> {
    let stamp = Stamp { size: 0, modified_ns: 0, changed_ns: 0 };
    let job = Job { id: 0, stamp, bytes_max: 0, name: None };
    let answer = Answer { id: 0, read: 0, finding: Finding::Clean };
    let wanted = Wanted { sha256: true, ..Wanted::default() };
    let examined = |answer| Examined { answer, evidence: Evidence::default() };
    let lease = 0;
    vec![
        row("Scan", &OpenerToWorker::Scan(vec![job.clone()])),
        row("Examine", &OpenerToWorker::Examine(wanted, vec![job])),
        row("Ready", &WorkerToOpener::Ready(GENERATION)),
        row("Answers", &WorkerToOpener::Answers(vec![answer.clone()])),
        row("Examined", &WorkerToOpener::Examined(vec![examined(answer)])),
        row("Groups", &BrokerToOpener::Groups(vec![0])),
        row("Trees", &trees()),
        row(
            "Become",
            &BrokerToOpener::Become {
                identity: Identity::Unchanged,
                scanner_uid: 1,
                limits: Limits::default(),
            },
        ),
        row("Serve", &BrokerToOpener::Serve),
        row("Idle", &OpenerToBroker::Idle),
        row(
            "Lease",
            &DispatcherToOpener::Lease {
                lease,
                generation: GENERATION,
                rules: 1,
                wants_names: false,
            },
        ),
        row("Recall", &DispatcherToOpener::Recall { lease }),
        row("Lost", &DispatcherToOpener::Lost { lease, cause: LossCause::Killed }),
        row("NoScanner", &DispatcherToOpener::NoScanner),
        row("WorkersHang", &DispatcherToOpener::WorkersHang),
        row("Want", &OpenerToDispatcher::Want(0)),
        row("Return", &OpenerToDispatcher::Return { lease }),
        row("Discard", &OpenerToDispatcher::Discard { lease }),
        row("Served", &OpenerToDispatcher::Served(Totals::default())),
    ]
}

fn scanner_and_admin_rows() -> Vec<Row> {
    let (template, worker) = (0, 0);
    let (generation, rules) = (GENERATION, 1);
    let cause = LossCause::Killed;
    let reason = || Vec::new().into();
    vec![
        row("StartTemplate", &BrokerToSupervisor::StartTemplate { template }),
        row("Hello", &SupervisorToBroker::Hello { workers: 0 }),
        row("Template", &SupervisorToBroker::Template { template }),
        row("Failed", &SupervisorToBroker::Failed { template, errno: 0 }),
        row("Rules", &BrokerToTemplate::Rules(vec![b"a".to_vec().into()])),
        row("Compile", &BrokerToTemplate::Compile),
        row("Fork", &BrokerToTemplate::Fork { worker }),
        row("Kill", &BrokerToTemplate::Kill { worker }),
        row("Probe", &BrokerToTemplate::Probe { worker, act: Act::Execve }),
        row("Ready", &TemplateToBroker::Ready { generation, rules, wants_names: false }),
        row("Rejected", &TemplateToBroker::Rejected { reason: reason() }),
        row("Worker", &TemplateToBroker::Worker { worker }),
        row("Exited", &TemplateToBroker::Exited { worker, cause }),
        row("Status", &AdminRequest::Status),
        row("Reload", &AdminRequest::Reload),
        row("Probe", &AdminRequest::Probe(Act::Execve)),
        row("Status", &AdminReply::Status(Box::<Status>::default())),
        row("Reloaded", &AdminReply::Reloaded { generation, rules }),
        row("ReloadFailed", &AdminReply::ReloadFailed { reason: reason() }),
        row("Probed", &AdminReply::Probed(cause)),
        row("NotProbed", &AdminReply::NotProbed),
    ]
}

/// Rows of the page that read "| `0xNN` | N | `Name` |".
fn rows_of_the_page() -> BTreeSet<Row> {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `0x")?.split(" | ");
        let tag = u8::from_str_radix(cells.next()?.trim_end_matches('`'), 16).ok()?;
        let variant = cells.next()?.parse().ok()?;
        Some((tag, variant, cells.next()?.trim_matches('`').to_owned()))
    });
    rows.collect()
}

#[test]
fn the_tables_on_the_page_have_the_numbers_of_the_code() {
    let code: BTreeSet<Row> =
        [client_rows(), opener_rows(), scanner_and_admin_rows()].into_iter().flatten().collect();
    // Tags from 0x60 on are of links inside the broker's own crate.
    let page: BTreeSet<Row> = rows_of_the_page().into_iter().filter(|row| row.0 < 0x60).collect();
    assert_eq!(page, code);
}

#[test]
fn no_variant_is_missing_from_the_tables() {
    let mut last: BTreeMap<u8, u8> = BTreeMap::new();
    for (tag, variant, _) in rows_of_the_page() {
        let last = last.entry(tag).or_default();
        *last = (*last).max(variant);
    }
    // Zeros are a value of every type, so only an unknown variant is a malformed body.
    let refused = |tag: u8, decode: fn(&[u8]) -> Option<WireError>| {
        let next = last.get(&tag).map_or(0, |last| last + 1);
        let mut bytes = vec![1, tag, next];
        bytes.resize(400, 0);
        assert_eq!(decode(&bytes), Some(WireError::Body), "tag {tag:#x} has a variant {next}");
    };
    refused(0x11, |bytes| decode::<ClientToOpener>(bytes).err());
    refused(0x12, |bytes| decode::<OpenerToClient>(bytes).err());
    refused(0x21, |bytes| decode::<OpenerToWorker>(bytes).err());
    refused(0x22, |bytes| decode::<WorkerToOpener>(bytes).err());
    refused(0x31, |bytes| decode::<BrokerToOpener>(bytes).err());
    refused(0x32, |bytes| decode::<OpenerToBroker>(bytes).err());
    refused(0x33, |bytes| decode::<DispatcherToOpener>(bytes).err());
    refused(0x34, |bytes| decode::<OpenerToDispatcher>(bytes).err());
    refused(0x41, |bytes| decode::<BrokerToSupervisor>(bytes).err());
    refused(0x42, |bytes| decode::<SupervisorToBroker>(bytes).err());
    refused(0x43, |bytes| decode::<BrokerToTemplate>(bytes).err());
    refused(0x44, |bytes| decode::<TemplateToBroker>(bytes).err());
    refused(0x51, |bytes| decode::<AdminRequest>(bytes).err());
    refused(0x52, |bytes| decode::<AdminReply>(bytes).err());
}
