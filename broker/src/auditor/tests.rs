//! The auditor in the process of the test, which says what is heard when.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::audit_link::BrokerToAuditor;
use crate::auditor::plan::AuditFormat;
use crate::record_link::{AuditorToOpener, Ending, Note, Object, OpenerToAuditor};
use fdbroker_common::totals::Totals;

type Broker = Channel<BrokerToAuditor, BrokerToConfiguration>;
type OpenersEnd = Channel<OpenerToAuditor, AuditorToOpener>;

/// An auditor that writes here, and its broker.
fn auditor(sink: Sink) -> (Auditor, Broker) {
    let (broker, theirs) = Broker::pair().unwrap();
    let link = BrokerChannel::adopt(theirs).unwrap();
    link.set_nonblocking(true).unwrap();
    let files = AuditFiles::Findings;
    let auditor = Auditor {
        broker: link,
        ended: None,
        processes: Processes::open().unwrap(),
        writer: Writer::new(sink, AuditFormat::Json, files),
        files,
        openers: BTreeMap::new(),
        connections: 0,
        requests: 0,
    };
    (auditor, broker)
}

fn nowhere() -> Sink {
    Sink::File(File::options().write(true).open("/dev/null").unwrap(), false)
}

fn opener(auditor: &mut Auditor) -> OpenersEnd {
    let (opener, theirs): (_, OwnedFd) = OpenersEnd::pair().unwrap();
    auditor.adopt(1, 1, Identity::Caller { uid: 7, gid: 7 }, theirs);
    opener
}

fn connect(broker: &mut Broker) {
    broker.send(&BrokerToAuditor::Connection((7, 7, 7), false, Ok(1)), &[]).unwrap();
}

fn scan(connection: u32) -> OpenerToAuditor {
    let (targets, totals) = (1, Totals::default());
    let end = Note::End { ending: Ending::Done, targets, generation: None, totals };
    let outcome = fdbroker_common::outcome::Outcome::Denied;
    let file = Note::File { object: Object::default(), outcome, unnamed: 0 };
    OpenerToAuditor::Notes(vec![Note::Begin { connection }, file, end])
}

#[test]
fn a_scan_of_a_connection_that_was_not_heard_of_yet_is_believed_when_the_broker_has_told() {
    let (mut auditor, mut broker) = auditor(nowhere());
    let mut opener = opener(&mut auditor);
    connect(&mut broker);
    opener.send(&scan(1), &[]).unwrap();
    assert!(auditor.hear_opener(1));
    opener.send(&scan(2), &[]).unwrap();
    assert!(!auditor.hear_opener(1), "of the second the broker has not told");
    assert!(auditor.openers.is_empty());
}

#[test]
fn an_opener_whose_notes_come_long_after_its_connections_is_not_cut_off() {
    let (mut auditor, mut broker) = auditor(nowhere());
    let mut opener = opener(&mut auditor);
    for nth in 1..=100 {
        connect(&mut broker);
        assert!(auditor.hear_broker().unwrap());
        if nth == 100 {
            [1, 2, 60, 100].into_iter().for_each(|nth| opener.send(&scan(nth), &[]).unwrap());
        }
    }
    for heard in 1..=4 {
        assert!(auditor.hear_opener(1));
        assert_eq!(auditor.requests, heard, "one message at a time");
    }
    opener.send(&scan(99), &[]).unwrap();
    assert!(!auditor.hear_opener(1), "an earlier one");
}

#[test]
fn a_broker_that_has_gone_is_noticed_whoever_was_heard() {
    let (mut auditor, broker) = auditor(nowhere());
    let mut opener = opener(&mut auditor);
    drop(broker);
    opener.send(&scan(1), &[]).unwrap();
    assert!(!auditor.hear_opener(1));
    assert!(matches!(auditor.hear_broker(), Err(ChannelError::Closed)));
}

/// A journal of which the other end is read when the test does.
fn journal() -> (Sink, UnixDatagram) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Sink::Journal(ours), theirs)
}

#[test]
fn openers_wait_for_a_slow_reader_and_no_record_is_lost() {
    let (sink, reader) = journal();
    let (mut auditor, mut broker) = auditor(sink);
    let mut opener = opener(&mut auditor);
    opener.set_nonblocking(true).unwrap();
    connect(&mut broker);
    let message = scan(1);
    let mut scans = 0;
    let sent = |opener: &mut OpenersEnd, scans: &mut u64| {
        while *scans < 2_500 && opener.send(&message, &[]).is_ok() {
            *scans += 1;
        }
    };
    // Two records a scan, and one of the connection.
    for _ in 0..2_500 {
        sent(&mut opener, &mut scans);
        auditor.turn().unwrap();
        if auditor.writer.pushes_back() {
            break;
        }
    }
    assert!(auditor.writer.pushes_back(), "nobody reads");
    let heard = auditor.requests;
    connect(&mut broker);
    auditor.turn().unwrap();
    assert_eq!((auditor.connections, auditor.requests), (2, heard), "the broker alone is heard");
    let mut read = 0_u64;
    let mut buffer = [0; 16 * 1024];
    while read < 2 * 2_500 + 2 {
        while reader.recv(&mut buffer).is_ok() {
            read += 1;
        }
        sent(&mut opener, &mut scans);
        if read < 2 * 2_500 + 2 {
            auditor.turn().unwrap();
        }
    }
    assert_eq!((auditor.requests, auditor.writer.unwritten()), (2_500, 0));
}

#[test]
fn a_pipe_that_has_little_room_is_never_waited_for() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let mut sink = Sink::Stderr(writer.into());
    let record = [b'x'; 20_000];
    let fill = |sink: &mut Sink| {
        let mut all = 0;
        loop {
            match sink.write(&record) {
                Ok(written) => all += written,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return all;
                }
            }
        }
    };
    let mut reader = File::from(reader);
    assert!(fill(&mut sink) > 0);
    std::io::Read::read_exact(&mut reader, &mut [0; 4096]).unwrap();
    assert_eq!(fill(&mut sink), 4096, "a page is free, and no more is written");
}
