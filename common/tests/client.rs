//! The client library against a played opener: order, flow control, and every way to end badly.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use fdbroker_common::channel::Channel;
use fdbroker_common::client::{Client, ClientError, Event, Target, TargetSource};
use fdbroker_common::client_link::{
    ClientToOpener, OpenerToClient, Refusal, Report, ScanOptions, Target as WireTarget,
};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;

type Opener = Channel<OpenerToClient, ClientToOpener>;

/// A client and a thread that plays its opener.
fn play(script: impl FnOnce(Opener) + Send + 'static) -> (Client, JoinHandle<()>) {
    let (opener, client) = Opener::pair().unwrap();
    let client = Client::from_connection(client).unwrap();
    (client, thread::spawn(move || script(opener)))
}

fn accepted() -> OpenerToClient {
    OpenerToClient::Accepted { generation: GenerationId([7; 16]), rules: 3 }
}

fn clean(target: u32, path: &str) -> Report {
    Report { target, path: path.as_bytes().to_vec().into(), size: 1, outcome: Outcome::Clean }
}

fn clean_totals(clean: u64) -> Totals {
    Totals { clean, ..Totals::default() }
}

/// Plays an honest opener that finds every target clean, for as many rounds as the client wants.
fn find_all_clean(mut opener: Opener) {
    let mut found = 0;
    while let Ok((message, _descriptors)) = opener.receive() {
        match message {
            ClientToOpener::Start(_) => opener.send(&accepted(), &[]).unwrap(),
            ClientToOpener::Targets(targets) => {
                found += targets.len() as u64;
                // A message for each, so that the client's side of the socket fills up.
                for WireTarget { id, .. } in targets {
                    let report = OpenerToClient::Reports(vec![clean(id, "")]);
                    opener.send(&report, &[]).unwrap();
                }
            }
            ClientToOpener::End => {
                let done = OpenerToClient::Done(clean_totals(std::mem::take(&mut found)));
                opener.send(&done, &[]).unwrap();
            }
            ClientToOpener::Waiting | ClientToOpener::PathTargets(_) => {}
        }
    }
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn targets(count: usize) -> impl Iterator<Item = Target> {
    (0..count).map(|n| Target::from_descriptor(null(), format!("t{n}").into_bytes()))
}

/// All events up to the first error.
fn events<S: TargetSource>(client: &mut Client, source: S) -> (Vec<Event>, Option<ClientError>) {
    let mut events = Vec::new();
    for event in client.scan(ScanOptions::default(), source) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

fn failure(script: impl FnOnce(Opener) + Send + 'static) -> ClientError {
    let (mut client, opener) = play(script);
    let (_, error) = events(&mut client, targets(3));
    drop(client);
    opener.join().unwrap();
    error.expect("the scan ends with an error")
}

#[test]
fn every_target_gets_its_report_and_the_connection_serves_again() {
    let (mut client, opener) = play(find_all_clean);
    for _ in 0..2 {
        let mut scan = client.scan(ScanOptions::default(), targets(200));
        let mut seen = Vec::new();
        for event in &mut scan {
            if let Event::Report(report) = event.unwrap() {
                assert_eq!(report.path, Path::new(&format!("t{}", report.target)));
                seen.push(report.target);
            }
        }
        assert!(scan.is_finished());
        assert_eq!(scan.totals(), clean_totals(200));
        assert_eq!(scan.rules().unwrap().count, 3);
        assert_eq!(seen, (0..200).collect::<Vec<u64>>());
    }
    drop(client);
    opener.join().unwrap();
}

#[test]
fn a_list_longer_than_a_round_goes_on_in_further_rounds() {
    let (mut client, opener) = play(find_all_clean);
    let mut scan = client.scan(ScanOptions::default(), targets(40_000));
    let begun = scan.by_ref().filter(|event| matches!(event, Ok(Event::Accepted(_)))).count();
    assert_eq!((begun, scan.totals()), (2, clean_totals(40_000)));
    drop(scan);
    drop(client);
    opener.join().unwrap();
}

#[test]
fn targets_that_cannot_be_opened_are_reported_and_counted() {
    let (mut client, opener) = play(find_all_clean);
    let missing = std::iter::once(Target::open(Path::new("/nonexistent")));
    let mut scan = client.scan(ScanOptions::default(), missing.chain(targets(1)));
    let reports: Vec<_> = scan
        .by_ref()
        .filter_map(|event| match event.unwrap() {
            Event::Report(report) => Some((report.target, report.outcome.word())),
            _ => None,
        })
        .collect();
    assert_eq!(reports, [(0, "error"), (1, "clean")]);
    assert_eq!((scan.totals().errors, scan.totals().clean), (1, 1));
    drop(scan);
    drop(client);
    opener.join().unwrap();
}

#[test]
fn a_refusal_is_told_even_when_sending_fails_first() {
    let (mut client, opener) = play(|mut opener| {
        let refused = OpenerToClient::Refused(Refusal::NotAllowed);
        opener.send(&refused, &[]).unwrap();
    });
    opener.join().unwrap();
    let (_, error) = events(&mut client, targets(3));
    assert!(matches!(error, Some(ClientError::Refused(Refusal::NotAllowed))));
}

#[test]
fn a_refusal_is_told_when_the_peer_left_without_reading() {
    let (mut client, opener) = play(|mut opener| {
        // Something of ours lies unread in the peer's queue when it goes: the kernel resets.
        let mut ready = [rustix::event::PollFd::new(&opener, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ready, None).unwrap();
        let refused = OpenerToClient::Refused(Refusal::NoScanner);
        opener.send(&refused, &[]).unwrap();
    });
    let (_, error) = events(&mut client, targets(3));
    opener.join().unwrap();
    assert!(matches!(error, Some(ClientError::Refused(Refusal::NoScanner))));
}

#[test]
fn a_connection_that_ends_in_the_middle_is_lost_and_stays_so() {
    let (mut client, opener) = play(|mut opener| {
        opener.receive().unwrap();
        opener.send(&accepted(), &[]).unwrap();
    });
    let (seen, error) = events(&mut client, targets(3));
    opener.join().unwrap();
    assert!(matches!(error, Some(ClientError::Lost)), "{seen:?} {error:?}");
    let (_, again) = events(&mut client, targets(1));
    assert!(matches!(again, Some(ClientError::Lost)));
}

#[test]
fn what_does_not_belong_ends_the_scan() {
    let unknown = failure(|mut opener| {
        opener.receive().unwrap();
        opener.send(&accepted(), &[]).unwrap();
        let report = OpenerToClient::Reports(vec![clean(99, "")]);
        opener.send(&report, &[]).unwrap();
        while opener.receive().is_ok() {}
    });
    assert!(matches!(unknown, ClientError::Protocol(_)), "{unknown}");

    let early = failure(|mut opener| {
        opener.receive().unwrap();
        let report = OpenerToClient::Reports(vec![clean(0, "")]);
        opener.send(&report, &[]).unwrap();
        while opener.receive().is_ok() {}
    });
    assert!(matches!(early, ClientError::Protocol(_)), "{early}");
}

#[test]
fn totals_that_disagree_with_the_reports_are_no_good_end() {
    let error = failure(|mut opener| {
        while let Ok((message, _)) = opener.receive() {
            match message {
                ClientToOpener::Start(_) => opener.send(&accepted(), &[]).unwrap(),
                ClientToOpener::Targets(_)
                | ClientToOpener::PathTargets(_)
                | ClientToOpener::Waiting => {}
                ClientToOpener::End => {
                    let done = OpenerToClient::Done(clean_totals(3));
                    opener.send(&done, &[]).unwrap();
                }
            }
        }
    });
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
}

#[test]
fn a_dropped_scan_closes_the_connection() {
    let (mut client, opener) = play(|mut opener| while opener.receive().is_ok() {});
    drop(client.scan(ScanOptions::default(), Waiting(None)));
    opener.join().unwrap();
}

/// Has at most one target to give, and then never another, nor an end.
struct Waiting(Option<Target>);

impl TargetSource for Waiting {
    fn next_target(&mut self) -> Poll<Option<Target>> {
        self.0.take().map_or(Poll::Pending, |target| Poll::Ready(Some(target)))
    }
}

#[test]
fn reports_come_while_the_source_is_still_waiting() {
    let (mut client, opener) = play(find_all_clean);
    let source = Waiting(targets(1).next());
    let mut scan = client.scan(ScanOptions::default(), source);
    assert!(matches!(scan.next(), Some(Ok(Event::Accepted(_)))));
    assert!(matches!(scan.next(), Some(Ok(Event::Report(_)))));
    drop(scan);
    opener.join().unwrap();
}

#[test]
fn no_broker_is_told_with_its_socket() {
    let error = Client::connect(Path::new("/nonexistent")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no broker at /nonexistent/client.sock: No such file or directory (os error 2)"
    );
    let long = "x".repeat(200);
    let error = Client::connect(Path::new(&long)).unwrap_err();
    assert!(error.to_string().ends_with("longer than 107 bytes"), "{error}");
}
