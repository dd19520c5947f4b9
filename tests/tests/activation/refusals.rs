//! What a service manager may not pass, and what is not meant for the broker.

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, Program, require_root};
use nix::sys::socket::SockType;

use crate::{Activated, activated, listening};

#[track_caller]
fn refused(program: Program, reason: &str) {
    let output = program.output().expect_code(2);
    assert!(output.errors().contains(reason), "{output}");
}

#[test]
fn a_broker_does_not_start_with_a_socket_that_is_not_its_own() {
    require_root!();
    let this = Activated::idle();
    let elsewhere = this.env.dir().join("client.sock");
    let other = listening(&elsewhere, SockType::SeqPacket);
    let runtime = this.env.runtime();
    let named = |socket| activated(runtime, socket).variable("LISTEN_FDNAMES", "client");
    let path = this.env.client_socket().display().to_string();
    refused(named(&other), &path);
    let stream = listening(&this.env.dir().join("stream.sock"), SockType::Stream);
    refused(named(&stream), &path);
    let null = std::fs::File::open("/dev/null").expect("open").into();
    refused(named(&null), &path);
    let name = "FileDescriptorName=client";
    refused(activated(runtime, &this.socket), name);
    refused(activated(runtime, &this.socket).variable("LISTEN_FDNAMES", "fdbroker.socket"), name);
    refused(this.program().variable("LISTEN_FDS", "2"), name);
    refused(this.program().variable("WATCHDOG_USEC", "14999999"), "WatchdogSec=");
}

#[test]
fn what_was_passed_to_another_process_is_ignored_and_closed() {
    require_root!();
    let mut env = Env::build().idle();
    let other = listening(&env.dir().join("other.sock"), SockType::SeqPacket);
    // As in a shell of a service that was started by socket.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=1 WATCHDOG_PID=1; exec \"$@\"";
    let broker = Program::at(std::path::Path::new("/bin/sh"))
        .args(["-c", script, "sh"])
        .arg(fdbroker_tests::program::executable("fdbroker"))
        .arg("--runtime-dir")
        .arg(env.runtime())
        .variable("LISTEN_FDS", "1")
        .variable("LISTEN_FDNAMES", "client")
        .variable("WATCHDOG_USEC", "1")
        .variable("NOTIFY_SOCKET", "/nonexistent")
        .stdin(other)
        .spawn();
    env.put_back(broker);
    env.start_scanner();
    env.wait_serving();
    let open = fdbroker_tests::proc::descriptors(env.broker().pid());
    let path = env.dir().join("other.sock");
    assert!(!fdbroker_tests::proc::is_listening(&path), "{open:?}");
    let eicar = env.file("eicar", EICAR);
    let output = env.fdscan(&Caller::user(2000), [&eicar]).expect_code(1);
    assert!(output.text().contains("FOUND"), "{output}");
}
