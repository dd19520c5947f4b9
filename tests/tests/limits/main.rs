//! What one caller, or a few together, can take of what all share: places, time, descriptors. Whoever
//! reaches a limit is told so, and nobody else notices.

mod descriptors;
mod gone;
mod in_flight;
mod low_limit;
mod shares;
mod silent;

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;

use fdbroker_common::client_link::OpenerToClient;
use fdbroker_common::limits::MESSAGE_BYTES_MAX;
use fdbroker_common::refusal::Refusal;
use fdbroker_common::{fdpass, wire};
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, Output, PATIENCE, Program, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const FOUND: &str = "EICAR_Test_File FOUND";

/// The next message of an opener, or of the broker in its place; none at the end of the connection.
#[track_caller]
fn told(socket: &UnixDatagram) -> Option<OpenerToClient> {
    socket.set_nonblocking(false).expect("fcntl");
    socket.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    match fdpass::receive_plain(socket, &mut buffer).expect("something is said") {
        0 => None,
        length => Some(wire::decode(&buffer[..length]).expect("a message")),
    }
}

/// The connection ends, and its peer has said why.
#[track_caller]
fn assert_refused(socket: &UnixDatagram, refusal: Refusal) {
    assert_eq!(told(socket), Some(OpenerToClient::Refused(refusal)));
    assert_eq!(told(socket), None, "it goes on after {refusal:?}");
}

/// A scan of this user finds what there is to find.
#[track_caller]
fn assert_served(env: &Env, uid: u32) {
    let eicar = env.file("eicar", EICAR);
    let output = env.fdscan(&Caller::user(uid), [&eicar]).expect_code(1);
    assert!(output.text().contains(FOUND), "{output}");
}

fn signal(pid: u32, signal: Signal) {
    // One that has ended meanwhile needs none.
    let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal);
}

/// Lowers the soft limit on open files of a process, and restores it when dropped. Whoever has its user and
/// group may do that.
struct Limited {
    pid: u32,
    before: String,
    caller: Caller,
}

impl Limited {
    #[track_caller]
    fn to(pid: u32, files: u64) -> Self {
        let status = proc::status(pid).expect("it lives");
        let caller = Caller { uid: status.uids[0], gid: status.gids[0], groups: Vec::new() };
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let before = line.and_then(|line| line.split_whitespace().next()).expect("its limits");
        let limited = Self { pid, before: before.to_owned(), caller };
        let _ = limited.set(&files.to_string()).expect_code(0);
        limited
    }

    /// So that nothing more can be opened.
    #[track_caller]
    fn to_lowest_free(pid: u32) -> Self {
        let used = numbers(pid);
        let free = (0..).find(|number| !used.contains(number));
        Self::to(pid, u64::from(free.expect("a number")))
    }

    fn set(&self, files: &str) -> Output {
        let prlimit = Program::at("/usr/bin/prlimit".as_ref()).caller(&self.caller);
        prlimit.args(["--pid", &self.pid.to_string(), &format!("--nofile={files}:")]).output()
    }
}

fn numbers(pid: u32) -> BTreeSet<u32> {
    proc::descriptors(pid).into_iter().map(|(number, _)| number).collect()
}

impl Drop for Limited {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.set(&self.before);
    }
}
