//! What a scan says to a slow source, and of a silent peer.

use super::*;
use crate::channel::Channel;
use crate::client::Target;
use crate::limits::OPENER_SILENCE_MAX;

/// A source that is never ready.
struct Slow;

impl TargetSource for Slow {
    fn next_target(&mut self) -> std::task::Poll<Option<Target>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_scan_that_waits_for_its_source_says_so_every_ten_seconds() {
    let (ours, theirs) = Link::pair().unwrap();
    let mut opener = Channel::<OpenerToClient, ClientToOpener>::adopt(theirs).unwrap();
    let mut client = Client::from_connection(ours.into_descriptor()).unwrap();
    let mut scan = client.scan(ScanOptions::default(), Slow);
    for _ in 0..3 {
        scan.step().unwrap();
    }
    assert!(matches!(opener.receive(), Ok((ClientToOpener::Start(_), _))));
    opener.set_nonblocking(true).unwrap();
    assert!(matches!(opener.receive(), Err(ChannelError::WouldBlock)));
    for _ in 0..2 {
        assert!(scan.until_waiting() <= Duration::from_secs(10));
        scan.said -= Duration::from_secs(10);
        for _ in 0..3 {
            scan.step().unwrap();
        }
        assert!(matches!(opener.receive(), Ok((ClientToOpener::Waiting, _))));
        assert!(matches!(opener.receive(), Err(ChannelError::WouldBlock)));
    }
}

#[test]
fn a_scan_that_is_stopped_from_outside_does_not_wait() {
    let (ours, _theirs) = Link::pair().unwrap();
    let (stop, writer) = std::io::pipe().unwrap();
    let mut client = Client::from_connection(ours.into_descriptor()).unwrap();
    let mut scan = client.scan(ScanOptions::default(), Slow).stopping(stop.as_fd());
    for _ in 0..5 {
        scan.step().unwrap();
    }
    drop(writer);
    assert!(matches!(scan.next(), Some(Err(ClientError::Stopped))));
    assert!(scan.next().is_none());
    assert!(!scan.is_finished());
}

#[test]
fn a_scan_that_is_stopped_does_not_go_on_with_another_connection() {
    let (ours, theirs) = Link::pair().unwrap();
    let (stop, writer) = std::io::pipe().unwrap();
    let mut client = Client::from_connection(ours.into_descriptor()).unwrap();
    let scan = client.scan(ScanOptions::default(), Slow).stopping(stop.as_fd());
    let mut scan = scan.resuming(Duration::from_secs(1000), |_| panic!("it is stopped"));
    drop((theirs, writer));
    assert!(matches!(scan.next(), Some(Err(ClientError::Stopped))));
}

#[test]
fn a_peer_that_is_silent_too_long_is_an_error_not_a_hang() {
    let (ours, _theirs) = Link::pair().unwrap();
    let mut client = Client::from_connection(ours.into_descriptor()).unwrap();
    let targets = std::iter::empty::<Target>();
    let mut scan = client.scan(ScanOptions::default(), targets);
    scan.heard = true;
    scan.silent_for = OPENER_SILENCE_MAX;
    assert!(matches!(scan.next(), Some(Err(ClientError::Silent(30)))));
    assert!(scan.next().is_none());
    assert!(!scan.is_finished());
}
