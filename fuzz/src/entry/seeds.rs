//! What each target begins with: real messages, made by the encoders, and files of the formats.
//!
//! They stand in `fuzz/seeds` so that a fuzzer finds them; `broker/tests/fuzzing` compares both.

mod settings;

use fdbroker_broker::audit_link::BrokerToAuditor;
use fdbroker_broker::auditor::plan::AuditFiles;
use fdbroker_broker::dispatch_link::{BrokerToDispatcher, DispatcherToBroker, Plan};
use fdbroker_broker::reader_link::ReaderToDispatcher;
use fdbroker_broker::record_link::{AuditorToOpener, Ending, Kind, Note, Object, OpenerToAuditor};
use fdbroker_common::admin_link::{AdminReply, AdminRequest, OpenerStatus, Status};
use fdbroker_common::client_link::{
    ClientToOpener, OpenerToClient, Refusal, Report, ScanOptions, Target,
};
use fdbroker_common::details::{Details, MetaValue, PatternMatch, RuleFacts};
use fdbroker_common::job_link::{
    Answer, Evidence, Examined, Finding, Job, OpenerToWorker, Place, Wanted, WorkerToOpener,
};
use fdbroker_common::lease_link::{DispatcherToOpener, LossCause, OpenerToDispatcher};
use fdbroker_common::opener_link::{
    BrokerToOpener, Identity, Limits, OpenerToBroker, Subjects, TreeGrant,
};
use fdbroker_common::outcome::{Change, Failure, Limit, Outcome, SkipReason};
use fdbroker_common::rule_table::{RuleEntries, RuleEntry, RuleTable};
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::stamp::Stamp;
use fdbroker_common::totals::Totals;
use fdbroker_common::wire::{Message, encode};
use serde_bytes::ByteBuf;

use super::worker::{GENERATION, RULES, SIZE};

/// A seed: the target's name, its own, and its bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// All seeds.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let messages =
        [client_link(), job_link(), lease_links(), scanner_links(), from_above(), audit_links()];
    [messages.concat(), settings::seeds(), beyond(), stages(), texts()].concat()
}

/// Just beyond a bound each, so no encoder makes them.
fn beyond() -> Vec<Seed> {
    let repeated = |head: &[u8], byte: u8, count: usize| [head, &vec![byte; count]].concat();
    let ready = |rules: &[u8]| [&[1, 0x44, 0], &[7; 16][..], rules, &[0]].concat();
    // 4097 bytes where a reason belongs.
    let reason = |tag, variant| repeated(&[1, tag, variant, 0x81, 0x20], b'x', 4097);
    vec![
        ("client_to_opener", "no-targets", vec![1, 0x11, 1, 0]),
        ("client_to_opener", "many-targets", repeated(&[1, 0x11, 1, 65], 0, 130)),
        (
            "client_to_opener",
            "long-pattern",
            [repeated(&[1, 0x11, 0, 0, 0, 0, 0, 0, 1, 0x81, 0x08], b'x', 1025), vec![0; 3]]
                .concat(),
        ),
        (
            "client_to_opener",
            "many-patterns",
            repeated(&[1, 0x11, 0, 0, 0, 0, 0, 0, 0x81, 0x02], 0, 260),
        ),
        ("opener_to_client", "no-reports", vec![1, 0x12, 2, 0]),
        ("opener_to_client", "no-details", vec![1, 0x12, 5, 0]),
        ("opener_to_worker", "nothing-wanted", vec![1, 0x21, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ("opener_to_client", "match-of-nothing", vec![1, 0x12, 2, 1, 0, 0, 4, 1, 0]),
        ("opener_to_worker", "no-jobs", vec![1, 0x21, 0, 0]),
        ("worker_to_opener", "no-answers", vec![1, 0x22, 1, 0]),
        ("worker_to_opener", "match-of-nothing", vec![1, 0x22, 1, 1, 0, 4, 1, 0]),
        ("worker_to_opener", "rule-twice", vec![1, 0x22, 1, 1, 0, 4, 1, 2, 5, 5]),
        ("from_above", "no-groups", vec![1, 0x31, 0, 0]),
        ("from_above", "no-trees", vec![1, 0x31, 1, 0, 0, 0, 0, 0]),
        ("from_above", "become-root", repeated(&[1, 0x31, 2, 0, 0, 100, 7], 0, 5)),
        ("from_above", "become-root-to-read", repeated(&[1, 0x31, 2, 1, 0, 7], 0, 5)),
        ("from_above", "become-root-for-trees", repeated(&[1, 0x31, 2, 2, 0, 7], 0, 5)),
        ("client_to_opener", "no-path-targets", vec![1, 0x11, 4, 0]),
        ("client_to_opener", "many-path-targets", repeated(&[1, 0x11, 4, 65], 0, 130)),
        ("from_above", "no-rules", vec![1, 0x43, 0, 0]),
        ("from_above", "rules-without-name", vec![1, 0x43, 0, 1, 0]),
        ("from_above", "long-reload-failed", reason(0x52, 2)),
        ("from_above", "long-fail", reason(0x62, 3)),
        ("opener_to_dispatcher", "want-too-many", vec![1, 0x34, 0, 0x81, 0x02]),
        ("template_to_dispatcher", "no-rules", ready(&[0])),
        ("template_to_dispatcher", "many-rules", ready(&[0xc1, 0x84, 0x3d])),
        ("template_to_dispatcher", "long-reason", reason(0x44, 1)),
        ("reader_to_dispatcher", "no-rules", vec![1, 0x63, 0, 0]),
        ("reader_to_dispatcher", "long-name", repeated(&[1, 0x63, 0, 1, 0x80, 0x02], b'x', 256)),
        ("reader_to_dispatcher", "long-reason", reason(0x63, 2)),
    ]
}

fn bytes<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).expect("a message");
    bytes
}

fn text(text: &str) -> ByteBuf {
    text.as_bytes().to_vec().into()
}

fn start() -> ClientToOpener {
    ClientToOpener::Start(ScanOptions {
        file_bytes_max: 10 << 20,
        file_deadline_s: 30,
        excludes: vec![text("*.o"), text("/srv/*/cache"), text("{a,b}")],
        ..ScanOptions::default()
    })
}

fn targets(count: u32) -> ClientToOpener {
    let target = |id| Target { id, name: text("/srv/file") };
    ClientToOpener::Targets((0..count).map(target).collect())
}

fn report(target: u32, path: &str, outcome: Outcome) -> Report {
    Report { target, path: text(path), size: 4, outcome }
}

fn accepted() -> OpenerToClient {
    OpenerToClient::Accepted { generation: GENERATION, rules: 3 }
}

fn reports() -> OpenerToClient {
    let rules = vec!["One".to_owned(), "Two".to_owned()];
    OpenerToClient::Reports(vec![
        report(0, "", Outcome::Clean),
        report(1, "a/b", Outcome::Match { rules }),
        report(2, "c", Outcome::Incomplete { limit: Limit::FileSize, read: 0, total: 9 }),
    ])
}

fn detailed() -> OpenerToClient {
    let facts = RuleFacts {
        tags: vec!["tag".to_owned()],
        metadata: vec![
            ("text".to_owned(), MetaValue::Text(text("x"))),
            ("number".to_owned(), MetaValue::Integer(-1)),
            ("part".to_owned(), MetaValue::Float(1.5_f64.to_bits())),
            ("live".to_owned(), MetaValue::Boolean(true)),
        ],
        cut: false,
    };
    let found =
        |data| PatternMatch { rule: 0, pattern: "$a".to_owned(), offset: 1, length: 2, data };
    let details = Details {
        sha256: Some([7; 32]),
        rules: vec![facts],
        matches: vec![found(Some(text("ou"))), found(None)],
        cut: true,
    };
    let rules = vec!["One".to_owned()];
    OpenerToClient::Detailed(vec![
        (report(0, "", Outcome::Clean), Details::default()),
        (report(1, "a/b", Outcome::Match { rules }), details),
    ])
}

fn further_reports() -> OpenerToClient {
    OpenerToClient::Reports(vec![
        report(0, "d", Outcome::Unstable(Change::Shrunk)),
        report(1, "e", Outcome::Denied),
        report(2, "f", Outcome::Skipped(SkipReason::Fifo)),
        report(2, "g", Outcome::Error(Failure::System(5))),
        report(2, "h", Outcome::Error(Failure::TimedOut(120))),
    ])
}

/// What [`reports`] comes to.
fn done() -> OpenerToClient {
    let totals = Totals { clean: 1, matched: 1, incomplete: 1, bytes: 8, ..Totals::default() };
    OpenerToClient::Done(totals)
}

fn path_targets() -> ClientToOpener {
    let target = |(id, path)| Target { id, name: text(path) };
    ClientToOpener::PathTargets((0..).zip(["/srv/a", "/srv/../etc"]).map(target).collect())
}

fn client_link() -> Vec<Seed> {
    vec![
        ("client_to_opener", "start", bytes(&start())),
        ("client_to_opener", "targets", bytes(&targets(3))),
        ("client_to_opener", "path-targets", bytes(&path_targets())),
        ("client_to_opener", "end", bytes(&ClientToOpener::End)),
        ("opener_to_client", "refused", bytes(&OpenerToClient::Refused(Refusal::BadPattern))),
        ("opener_to_client", "accepted", bytes(&accepted())),
        ("opener_to_client", "reports", bytes(&reports())),
        ("opener_to_client", "further-reports", bytes(&further_reports())),
        ("opener_to_client", "done", bytes(&done())),
        ("opener_to_client", "detailed", bytes(&detailed())),
    ]
}

fn answers(from: u32, findings: Vec<Finding>) -> WorkerToOpener {
    let answer = |(id, finding)| Answer { id, read: SIZE, finding };
    WorkerToOpener::Answers((from..).zip(findings).map(answer).collect())
}

fn examined(places: Vec<Place>) -> WorkerToOpener {
    let evidence = |places| Evidence { sha256: Some([7; 32]), places, cut: false };
    let answer = |id, finding| Answer { id, read: SIZE, finding };
    WorkerToOpener::Examined(vec![
        Examined { answer: answer(0, Finding::Clean), evidence: evidence(Vec::new()) },
        Examined { answer: answer(1, Finding::Match(vec![0, 2])), evidence: evidence(places) },
    ])
}

fn places() -> Vec<Place> {
    let place =
        |rule, offset, data| Place { rule, pattern: 0, offset, length: 2, data: text(data) };
    vec![place(0, 0, "fo"), place(0, 2, "ur"), place(2, 1, "ou")]
}

fn findings() -> Vec<Finding> {
    vec![
        Finding::Clean,
        Finding::Match(vec![0, 2]),
        Finding::Incomplete(Limit::Memory),
        Finding::Unstable(Change::Modified),
        Finding::ReadError(5),
        Finding::Refused,
        Finding::EngineError,
        Finding::Clean,
    ]
}

fn job_link() -> Vec<Seed> {
    let stamp = Stamp { size: SIZE, modified_ns: 1_700_000_000_000_000_000, changed_ns: -1 };
    let job = |id, name| Job { id, stamp, bytes_max: 1 << 31, name };
    let scan = OpenerToWorker::Scan(vec![job(0, None), job(1, Some(text("a/b")))]);
    let wanted = Wanted { sha256: true, matches: true, data: true };
    let examine = OpenerToWorker::Examine(wanted, vec![job(0, None)]);
    vec![
        ("opener_to_worker", "scan", bytes(&scan)),
        ("opener_to_worker", "examine", bytes(&examine)),
        ("worker_to_opener", "examined", bytes(&examined(places()))),
        ("worker_to_opener", "ready", bytes(&WorkerToOpener::Ready(GENERATION))),
        ("worker_to_opener", "answers", bytes(&answers(0, findings()))),
    ]
}

fn lease_links() -> Vec<Seed> {
    let name = "opener_to_dispatcher";
    vec![
        (name, "want", bytes(&OpenerToDispatcher::Want(256))),
        (name, "return", bytes(&OpenerToDispatcher::Return { lease: 300 })),
        (name, "discard", bytes(&OpenerToDispatcher::Discard { lease: 300 })),
        (name, "served", bytes(&OpenerToDispatcher::Served(Totals::default()))),
        ("opener_to_broker", "idle", bytes(&OpenerToBroker::Idle)),
    ]
}

fn scanner_links() -> Vec<Seed> {
    let ready = TemplateToBroker::Ready { generation: GENERATION, rules: 3, wants_names: true };
    let rejected = TemplateToBroker::Rejected { reason: text("a.yar:7: syntax error") };
    let exited = TemplateToBroker::Exited { worker: 9, cause: LossCause::Signal(11) };
    let supervisor = "supervisor_to_dispatcher";
    let template = "template_to_dispatcher";
    let reader = "reader_to_dispatcher";
    let names = vec![text("a.yar"), text("b.yara")];
    vec![
        (supervisor, "hello", bytes(&SupervisorToBroker::Hello { workers: 3 })),
        (supervisor, "template", bytes(&SupervisorToBroker::Template { template: 1 })),
        (supervisor, "failed", bytes(&SupervisorToBroker::Failed { template: 1, errno: 12 })),
        (template, "ready", bytes(&ready)),
        (template, "rejected", bytes(&rejected)),
        (template, "worker", bytes(&TemplateToBroker::Worker { worker: 9 })),
        (template, "exited", bytes(&exited)),
        (reader, "rules", bytes(&ReaderToDispatcher::Rules(names))),
        (reader, "end", bytes(&ReaderToDispatcher::End)),
        (reader, "watch", bytes(&ReaderToDispatcher::Watch)),
        (reader, "failed", bytes(&ReaderToDispatcher::Failed(text("no directory")))),
        ("admin_to_dispatcher", "status", bytes(&AdminRequest::Status)),
        ("admin_to_dispatcher", "reload", bytes(&AdminRequest::Reload)),
    ]
}

fn plan() -> Plan {
    Plan {
        broker_pid: 4000,
        uid: Some(65_530),
        scanner_uid: 65_534,
        admin_uid: 0,
        starts_scanner: true,
        watch_rules: false,
        workers: 2,
        log_level: 3,
    }
}

fn tree_grant() -> TreeGrant {
    TreeGrant {
        subjects: Subjects { uids: vec![2000, 70_000], gids: vec![100] },
        trees: vec!["/srv".into(), "/home/all".into()],
        except: vec!["/srv/keys".into()],
        hard_links: true,
    }
}

fn from_above() -> Vec<Seed> {
    let name = "from_above";
    let lease = DispatcherToOpener::Lease {
        lease: 300,
        generation: GENERATION,
        rules: 3,
        wants_names: false,
    };
    let lost = DispatcherToOpener::Lost { lease: 300, cause: LossCause::Exit(1) };
    let identity = Identity::Caller { uid: 2000, gid: 100 };
    let limits = Limits { connections: 2, scan_bytes: 1 << 40, ..Limits::default() };
    let granted = BrokerToOpener::Become {
        identity: Identity::Granted { uid: 65_529 },
        scanner_uid: 65_534,
        limits,
    };
    let trees = BrokerToOpener::Trees(tree_grant());
    let status = Status {
        generation: Some(GENERATION),
        openers: vec![OpenerStatus {
            pid: 4000,
            caller_uid: 2000,
            busy: true,
            workers: 2,
            waiting: false,
        }],
        last_error: "rules refused".to_owned(),
        ..Status::default()
    };
    let plan = plan();
    vec![
        (name, "groups", bytes(&BrokerToOpener::Groups(vec![100, 2000]))),
        (name, "trees", bytes(&trees)),
        (name, "become", bytes(&BrokerToOpener::Become { identity, scanner_uid: 65_534, limits })),
        (name, "become-granted", bytes(&granted)),
        (name, "lease", bytes(&lease)),
        (name, "lost", bytes(&lost)),
        (name, "start-template", bytes(&BrokerToSupervisor::StartTemplate { template: 1 })),
        (name, "rules", bytes(&BrokerToTemplate::Rules(vec![text("a.yar")]))),
        (name, "fork", bytes(&BrokerToTemplate::Fork { worker: 9 })),
        (name, "status", bytes(&AdminReply::Status(Box::new(status)))),
        (name, "reload-failed", bytes(&AdminReply::ReloadFailed { reason: text("a.yar:7") })),
        (name, "begin", bytes(&BrokerToDispatcher::Begin(plan))),
        (name, "opener", bytes(&BrokerToDispatcher::Opener { pid: 4000, caller_uid: 2000 })),
        (name, "fail", bytes(&DispatcherToBroker::Fail(text("no rules")))),
    ]
}

fn notes() -> OpenerToAuditor {
    let object = |name: &str| Object::named(name.as_bytes().to_vec(), Some((0x801, 77)), 68);
    let rules = vec!["One".to_owned(), "Two".to_owned()];
    let failed = Outcome::Error(Failure::System(5));
    let ending = Ending::Refused(Refusal::Silent);
    OpenerToAuditor::Notes(vec![
        Note::Begin { connection: 1 },
        Note::Target(object("/srv"), Kind::Directory),
        Note::File { object: object("/srv/a\nb"), outcome: Outcome::Match { rules }, unnamed: 3 },
        Note::File { object: Object::named(vec![0xff; 9], None, 0), outcome: failed, unnamed: 0 },
        Note::End { ending, targets: 1, generation: Some(GENERATION), totals: Totals::default() },
    ])
}

fn audit_links() -> Vec<Seed> {
    let identity = Identity::Caller { uid: 2000, gid: 100 };
    let served = BrokerToAuditor::Connection((2000, 100, 4000), true, Ok(7));
    let refused = BrokerToAuditor::Connection((2000, 100, 4000), false, Err(Refusal::NotAllowed));
    let name = "from_above";
    vec![
        ("opener_to_auditor", "notes", bytes(&notes())),
        ("opener_to_auditor", "no-notes", vec![1, 0x69, 0, 0]),
        ("opener_to_auditor", "match-of-nothing", vec![1, 0x69, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0]),
        ("records", "notes", bytes(&notes())),
        ("records", "name", b"a\" uid=0 \\\n\x1b[2J\xff\xe2\x80\xae".to_vec()),
        (name, "audit-begin", bytes(&BrokerToAuditor::Begin(Some(65_529), text("plan")))),
        (name, "audit-opener", bytes(&BrokerToAuditor::Opener(7, 4001, identity))),
        (name, "audit-served", bytes(&served)),
        (name, "audit-refused", bytes(&refused)),
        (name, "tell", bytes(&AuditorToOpener::Tell(AuditFiles::All))),
    ]
}

/// Some bytes of choice, then packets with their lengths.
fn conversation(choice: &[u8], packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = choice.to_vec();
    for packet in packets {
        let length = u16::try_from(packet.len()).expect("a short packet");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(packet);
    }
    bytes
}

fn stages() -> Vec<Seed> {
    let ready = bytes(&WorkerToOpener::Ready(GENERATION));
    let all = bytes(&answers(0, findings()));
    let two = |from| bytes(&answers(from, vec![Finding::Clean, Finding::Match(vec![1])]));
    let examined_bytes = bytes(&examined(places()));
    let with = |change: fn(&mut Place)| {
        let mut places = places();
        places.iter_mut().for_each(change);
        bytes(&examined(places))
    };
    let quiet = with(|place| place.data.clear());
    let beyond = with(|place| place.offset += 2);
    let worker = "worker_answers";
    let client = "client_scan";
    let scan = [bytes(&accepted()), bytes(&reports()), bytes(&done())];
    let progress = bytes(&OpenerToClient::Progress(Totals::default()));
    let early = [bytes(&reports()), bytes(&accepted()), bytes(&done())];
    vec![
        (worker, "all", conversation(&[7, 0], &[ready.clone(), all.clone()])),
        (worker, "in-parts", conversation(&[3, 1], &[ready.clone(), two(0), two(2)])),
        (worker, "foreign-job", conversation(&[3, 2], &[ready.clone(), two(0), two(7)])),
        (worker, "examined", conversation(&[1, 0x3c], &[ready.clone(), examined_bytes.clone()])),
        (worker, "hash-withheld", conversation(&[1, 0x1c], &[ready.clone(), quiet])),
        (worker, "place-beyond", conversation(&[1, 0x3c], &[ready.clone(), beyond])),
        (worker, "examined-unasked", conversation(&[1, 0], &[ready.clone(), examined_bytes])),
        (worker, "not-announced", conversation(&[7, 3], &[all, ready])),
        (client, "good", conversation(&[0], &scan)),
        (client, "without-clean", conversation(&[1], &[accepted(), done()].map(|m| bytes(&m)))),
        (client, "progress", conversation(&[0], &[bytes(&accepted()), progress])),
        (client, "early", conversation(&[0], &early)),
        ("channel", "start", conversation_byte(0, &start())),
        ("channel", "targets", conversation_byte(2, &targets(2))),
        ("channel", "too-many", conversation_byte(3, &targets(2))),
        ("channel", "all-there-can-be", conversation_byte(253, &ClientToOpener::End)),
    ]
}

fn conversation_byte(choice: u8, message: &ClientToOpener) -> Vec<u8> {
    [vec![choice], bytes(message)].concat()
}

fn texts() -> Vec<Seed> {
    let table = RuleTable::encode(RULES).expect("names");
    let entry = |_| RuleEntry {
        facts: RuleFacts { tags: vec!["tag".to_owned()], ..RuleFacts::default() },
        patterns: vec!["$a".to_owned(), "$".to_owned()],
    };
    let entries = RuleEntries::encode(RULES.map(entry), 1 << 20).expect("entries");
    let with_entries = [table.as_slice(), &entries].concat();
    let sealed = |seals: u8, table: &[u8]| [&[seals], table].concat();
    let configuration = "configuration";
    let whole = "# fdbroker\nrules = \"/etc\"\nscanner_user = \"nobody\"\nspawn_scanner = true\nworkers = 4\n";
    let policy = "[[grant]]\nusers = [\"nobody\", 7]\ntrees = [\"/etc\"]\nexcept = [\"/etc/x\"]\nhard_links = true\n\
                  [[deny]]\ngroups = [9]\n[[limit]]\nusers = [5]\nscan_bytes = \"1G\"\nconnections = 0x2\n";
    vec![
        (configuration, "whole", whole.into()),
        (configuration, "unknown-key", "runtime_dir = \"/run/x\"\nroot = true\n".into()),
        (configuration, "workers", "workers = 4_294_967_295\n".into()),
        (configuration, "directory", "rules = \"/no/such\\tdirectory\"\n".into()),
        (
            configuration,
            "files",
            "workers = 2\x0cworkers = 3\n[audit]\nto = \"/var/log/x\"\x0c".into(),
        ),
        (configuration, "policy", policy.into()),
        ("rule_table", "table", sealed(0, &table)),
        ("rule_table", "entries", sealed(0, &with_entries)),
        ("rule_table", "entries-cut", sealed(0, &with_entries[..with_entries.len() - 1])),
        ("rule_table", "not-sealed", sealed(1, &table)),
        ("rule_table", "cut", sealed(0, &table[..table.len() - 1])),
        ("excludes", "names", b"*.o\n.git\nb[a-c]?\nsrc/main.o".to_vec()),
        ("excludes", "paths", b"/srv/*/cache\n**/x/{a,b}.txt\n/srv/one/cache".to_vec()),
        ("excludes", "bad", b"ok\n!no\na[b\nx".to_vec()),
        ("escaping", "plain", "a b/ü-日本.txt".into()),
        ("escaping", "hostile", b"a\nb\t\\\x1b[2Jc\xff\x7f\xe2\x80\xae.exe\xc2\x85".to_vec()),
    ]
}
