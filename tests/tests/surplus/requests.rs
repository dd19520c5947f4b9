//! Requests with surplus descriptors, in each state of each link that a stranger can reach.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use fdbroker_common::admin_link::AdminRequest;
use fdbroker_common::client_link::{ClientToOpener, ScanOptions, Target};
use fdbroker_common::scanner_link::SupervisorToBroker;
use fdbroker_common::wire::{self, Message};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Bytes, and how many descriptors go with them.
#[derive(Debug, Clone)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub descriptors: usize,
    /// They are those of the connection itself: only the kernel's own collection can free them.
    pub of_itself: bool,
}

/// Packets in order.
#[derive(Debug, Clone)]
pub struct Request {
    pub what: String,
    pub packets: Vec<Packet>,
    /// The kernel drops the descriptors, and the request is answered as if there were none.
    pub is_answered: bool,
}

/// Sends even what has no bytes, which [`fdbroker_common::fdpass`] refuses.
pub fn send(
    socket: &UnixDatagram,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> nix::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None).map(drop)
}

fn bytes(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).expect("a message");
    bytes
}

fn packet(message: &impl Message, descriptors: usize) -> Packet {
    Packet { bytes: bytes(message), descriptors, of_itself: false }
}

fn request(what: &str, surplus: usize, packets: Vec<Packet>) -> Request {
    Request { what: format!("{what}, {surplus} surplus"), packets, is_answered: false }
}

fn start() -> ClientToOpener {
    ClientToOpener::Start(ScanOptions::default())
}

fn names(count: u32) -> ClientToOpener {
    let target = |id| Target { id, name: b"bait".to_vec().into() };
    ClientToOpener::Targets((0..count).map(target).collect())
}

/// As first message.
pub fn before_start(surplus: usize) -> Vec<Request> {
    let empty = Packet { bytes: Vec::new(), descriptors: surplus, of_itself: false };
    let own = Packet { of_itself: true, ..packet(&start(), surplus) };
    let noise = Packet { bytes: vec![0xa5; 100], descriptors: surplus, of_itself: false };
    vec![
        request("targets before start", surplus, vec![packet(&names(1), surplus)]),
        request("start", surplus, vec![packet(&start(), surplus)]),
        request("a start with its own connection", surplus, vec![own]),
        request("an empty packet", surplus, vec![empty]),
        request("noise", surplus, vec![noise]),
    ]
}

/// Once a scan has begun.
pub fn after_start(surplus: usize) -> Vec<Request> {
    let begun = || packet(&start(), 0);
    let empty = Packet { bytes: Vec::new(), descriptors: surplus, of_itself: false };
    let few = if surplus < 64 { 1 } else { 64 };
    let more = usize::try_from(few).unwrap_or(0) + surplus;
    let more = packet(&names(few), more.min(253));
    let told = packet(&names(2), 2);
    vec![
        request("start twice", surplus, vec![begun(), packet(&start(), surplus)]),
        request("targets with more than names", surplus, vec![begun(), more]),
        request("end", surplus, vec![begun(), told, packet(&ClientToOpener::End, surplus)]),
        request("an empty packet after start", surplus, vec![begun(), empty]),
    ]
}

/// A scan of so many targets, all with their descriptors.
pub fn targets(count: u32) -> Request {
    let all = packet(&names(count), usize::try_from(count).unwrap_or(0));
    request("targets", 0, vec![packet(&start(), 0), all])
}

/// To the dispatcher, as a scanner.
pub fn hello(surplus: usize) -> Vec<Request> {
    let hello = SupervisorToBroker::Hello { workers: 1 };
    let template = SupervisorToBroker::Template { template: 1 };
    vec![
        request("hello", surplus, vec![packet(&hello, surplus)]),
        request("template", surplus, vec![packet(&hello, 0), packet(&template, surplus)]),
    ]
}

/// To the dispatcher, as an administrator.
pub fn status(surplus: usize) -> Vec<Request> {
    let status = packet(&AdminRequest::Status, surplus);
    let empty = Packet { bytes: Vec::new(), descriptors: surplus, of_itself: false };
    let noise = Packet { bytes: vec![0xa5; 100], descriptors: surplus, of_itself: false };
    vec![
        Request { is_answered: true, ..request("status", surplus, vec![status]) },
        request("an empty packet", surplus, vec![empty]),
        request("noise", surplus, vec![noise]),
    ]
}
