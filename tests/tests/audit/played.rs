//! The auditor alone, with a broker and openers that the test plays: captured ones among them.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use fdbroker_broker::audit_link::BrokerToAuditor;
use fdbroker_broker::auditor::plan::{AuditFiles, AuditFormat, AuditPlan, AuditTo};
use fdbroker_broker::record_link::{AuditorToOpener, Ending, Note, Object, OpenerToAuditor};
use fdbroker_broker::root::settings::BrokerToConfiguration;
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::fdpass;
use fdbroker_common::opener_link::Identity;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::totals::Totals;
use fdbroker_common::wire::encode;
use fdbroker_tests::program::executable;
use fdbroker_tests::{Program, Running, require_root, require_tool, wait_until};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::stage::{Place, of};

/// A uid of the range that brokers take theirs from.
const UID: u32 = 65_521;

struct Auditor {
    link: Channel<BrokerToAuditor, BrokerToConfiguration>,
    running: Running,
    place: Place,
}

type Opener = Channel<OpenerToAuditor, AuditorToOpener>;

impl Auditor {
    fn start() -> Self {
        let place = Place::new();
        let to = AuditTo::File(place.log().into());
        let program = Program::new("fdbroker").arg("--auditor");
        Self::of(program, place, to)
    }

    fn of(program: Program, place: Place, to: AuditTo) -> Self {
        let (mut link, theirs) = Channel::pair().expect("a pair");
        let running = program.stdin(theirs).spawn();
        let plan = AuditPlan { to, format: AuditFormat::Json, files: AuditFiles::Findings };
        let plan = plan.encoded().expect("it fits").expect("not off");
        link.send(&BrokerToAuditor::Begin(Some(UID), plan), &[]).expect("it listens");
        Self { link, running, place }
    }

    fn opener(&mut self, number: u32) -> Opener {
        let (mut opener, theirs) = Opener::pair().expect("a pair");
        let identity = Identity::Caller { uid: 2000, gid: 2000 };
        let told = BrokerToAuditor::Opener(number, 4000 + number, identity);
        self.link.send(&told, &[theirs.as_fd()]).expect("it listens");
        let (AuditorToOpener::Tell(files), _) = opener.receive().expect("which files to tell of");
        assert_eq!(files, AuditFiles::Findings);
        opener
    }

    /// Hands a connection of a process to an opener, or refuses it.
    fn connection(&mut self, pid: i32, process: Option<&OwnedFd>, to: Result<u32, Refusal>) {
        let told = BrokerToAuditor::Connection((2000, 2000, pid), process.is_some(), to);
        let process: Vec<_> = process.iter().map(|process| process.as_fd()).collect();
        self.link.send(&told, &process).expect("it listens");
    }

    /// The broker goes: the auditor finishes and ends.
    fn finish(self) -> Vec<Value> {
        drop(self.link);
        let _ = self.running.finish().expect_code(0);
        self.place.records()
    }
}

fn file(name: &str) -> Note {
    let object = Object::named(name.as_bytes().to_vec(), Some((1, 2)), 3);
    Note::File { object, outcome: Outcome::Denied, unnamed: 0 }
}

fn end() -> Note {
    let totals = Totals::default();
    Note::End { ending: Ending::Done, targets: 1, generation: None, totals }
}

fn say(opener: &mut Opener, notes: Vec<Note>) {
    opener.send(&OpenerToAuditor::Notes(notes), &[]).expect("it listens");
}

/// Waits until the auditor has closed an opener's link; it says nothing more on it.
fn wait_cut(opener: &mut Opener) {
    opener.set_nonblocking(true).expect("fcntl");
    wait_until("the auditor hears it no more", || match opener.receive() {
        Err(ChannelError::WouldBlock) => None,
        other => {
            assert!(other.is_err(), "{other:?}");
            Some(())
        }
    });
}

#[test]
fn a_captured_opener_names_no_caller_but_its_own_and_is_cut_off_when_it_breaks_the_protocol() {
    require_root!();
    let connections = [2, 0, u32::MAX];
    let begin = |connection| Note::Begin { connection };
    let many = |note: Note| std::iter::repeat_n(note, 64).collect::<Vec<_>>();
    let mut breaks: Vec<Vec<Note>> = connections.map(|nth| vec![begin(nth)]).into();
    breaks.extend([vec![begin(1), begin(1)], vec![file("x")], vec![end()], many(end())]);
    breaks.extend([vec![begin(1), end(), end()], vec![begin(1), end(), file("x")]]);
    let mut auditor = Auditor::start();
    for (number, notes) in (1..).zip(&breaks) {
        let mut opener = auditor.opener(number);
        auditor.connection(1, None, Ok(number));
        say(&mut opener, notes.clone());
        wait_cut(&mut opener);
    }
    // An honest one beside them is still heard.
    let mut honest = auditor.opener(100);
    auditor.connection(77, None, Ok(100));
    say(&mut honest, vec![begin(1), file("/f"), end()]);
    let records = auditor.finish();
    let cuts = of(&records, "opener.cut");
    assert_eq!(cuts.len(), breaks.len(), "{records:#?}");
    for (number, cut) in (1_u32..).zip(cuts) {
        assert_eq!((&cut["uid"], &cut["opener"]), (&json!(2000), &json!(4000 + number)));
    }
    assert!(records.iter().filter_map(|record| record["uid"].as_u64()).all(|uid| uid == 2000));
    let told = of(&records, "file");
    assert_eq!((told.len(), &told[0]["pid"], &told[0]["path"]), (1, &json!(77), &json!("/f")));
}

#[test]
fn bytes_that_are_no_notes_cost_their_sender_its_link_and_nobody_else_anything() {
    require_root!();
    let mut auditor = Auditor::start();
    let note = |object: Object| {
        let mut bytes = Vec::new();
        let notes = vec![Note::File { object, outcome: Outcome::Denied, unnamed: 0 }];
        encode(&OpenerToAuditor::Notes(notes), &mut bytes).map(|()| bytes)
    };
    let object = Object::named(vec![b'x'; 4096], None, 0);
    let mut long = note(object.clone()).expect("it fits");
    assert!(note(Object { name: vec![b'x'; 4097].into(), ..object }).is_err());
    // One byte more in the name: its length is a varint, 4096 + 1.
    let at = long.windows(2).position(|pair| pair == [0x80, 0x20]).expect("a length");
    long[at] = 0x81;
    long.insert(at + 2, b'x');
    let garbage: [Vec<u8>; 6] = [
        vec![0],
        vec![1, 0x69],
        vec![1, 0x69, 0, 0],
        vec![2, 0x69, 0, 1, 0, 1],
        vec![1, 0x67, 1, 0],
        long,
    ];
    for (number, bytes) in (1..).zip(&garbage) {
        let opener = auditor.opener(number);
        auditor.connection(1, None, Ok(number));
        let socket: UnixDatagram = opener.into_descriptor().into();
        fdpass::send(&socket, bytes, &[]).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let end = fdpass::receive_plain(&socket, &mut [0]);
        assert!(end.as_ref().map_or(true, |length| *length == 0), "{end:?}");
    }
    let records = auditor.finish();
    assert_eq!(of(&records, "opener.cut").len(), garbage.len(), "{records:#?}");
}

#[test]
fn an_executable_is_that_of_the_process_and_of_no_other_that_has_its_number() {
    require_root!();
    let mut auditor = Auditor::start();
    let sleeper = Program::at(Path::new("/bin/sleep")).arg("60");
    let mut sleeper = sleeper.caller(&fdbroker_tests::Caller::user(2000)).spawn();
    let pid = i32::try_from(sleeper.pid()).expect("a pid");
    let exe = wait_until("it executes", || {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        exe.ends_with("sleep").then_some(exe)
    });
    let process = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty());
    let process = process.expect("pidfd_open");
    auditor.connection(pid, Some(&process), Err(Refusal::NotAllowed));
    auditor.connection(pid, None, Err(Refusal::NotAllowed));
    wait_until("both were heard", || {
        (of(&auditor.place.records(), "connection").len() == 2).then_some(())
    });
    sleeper.signal(Signal::SIGKILL);
    assert!(sleeper.ended_within(Duration::from_secs(60)).is_some());
    // The number of a process that lives, the descriptor of one that does not.
    let own = i32::try_from(std::process::id()).expect("a pid");
    auditor.connection(own, Some(&process), Err(Refusal::NotAllowed));
    let records = auditor.finish();
    let told: Vec<&Value> =
        of(&records, "connection").iter().map(|record| &record["exe"]).collect();
    assert_eq!(told, [&json!(exe), &Value::Null, &Value::Null]);
}

#[test]
fn the_journal_gets_each_record_as_fields_and_a_line() {
    require_root!();
    require_tool!("unshare");
    let place = Place::new();
    let socket = place.dir().join("journal/socket");
    std::fs::create_dir(place.dir().join("journal")).expect("mkdir");
    let journal = UnixDatagram::bind(&socket).expect("bind");
    journal.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&socket, permissions).expect("chmod");
    // In a mount namespace of its own, where the journal is ours.
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
        && mount --bind \"$1\" /run/systemd/journal && exec \"$2\" --auditor";
    let program = Program::at(Path::new("/usr/bin/unshare"))
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(place.dir().join("journal"))
        .arg(executable("fdbroker"));
    let mut auditor = Auditor::of(program, place, AuditTo::Journal);
    let mut opener = auditor.opener(1);
    auditor.connection(77, None, Ok(1));
    let rules = vec!["A".to_owned(), "B\nFDBROKER_UID=0".to_owned()];
    let object = Object::named(b"/x\nFDBROKER_UID=0".to_vec(), Some((0x0801, 9)), 3);
    let found = Note::File { object, outcome: Outcome::Match { rules }, unnamed: 0 };
    say(&mut opener, vec![Note::Begin { connection: 1 }, found, end()]);
    let mut datagrams = Vec::new();
    for _ in 0..4 {
        let mut buffer = vec![0; 64 * 1024];
        let length = journal.recv(&mut buffer).expect("a record");
        buffer.truncate(length);
        datagrams.push(String::from_utf8(buffer).expect("text"));
    }
    let file = &datagrams[2];
    for line in [
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=fdbroker-audit",
        "FDBROKER_EVENT=file",
        "FDBROKER_UID=2000",
        "FDBROKER_PID=77",
        "FDBROKER_PATH=/x\\nFDBROKER_UID=0",
        "FDBROKER_DEV=8:1",
        "FDBROKER_INO=9",
        "FDBROKER_OUTCOME=match",
        "FDBROKER_RULES=[\"A\",\"B\\nFDBROKER_UID=0\"]",
    ] {
        assert_eq!(file.lines().filter(|other| *other == line).count(), 1, "{line}\n{file}");
    }
    let uids = file.lines().filter(|line| line.starts_with("FDBROKER_UID=")).count();
    assert_eq!(uids, 1, "{file}");
    let message = file.lines().find_map(|line| line.strip_prefix("MESSAGE="));
    let message: Value = serde_json::from_str(message.expect("a line")).expect("JSON");
    assert_eq!(message["rules"], json!(["A", "B\\nFDBROKER_UID=0"]));
    assert!(datagrams[3].contains("FDBROKER_EVENT=request\n"), "{}", datagrams[3]);
    drop(auditor.link);
    let _ = auditor.running.finish().expect_code(0);
}
