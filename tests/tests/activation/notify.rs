//! What a service manager is told, on a socket of the test's own.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use fdbroker_common::paths;
use fdbroker_tests::{PATIENCE, require_root, wait_until};
use nix::sys::signal::Signal;

use crate::Activated;

fn said(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("it says something");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_service_manager_hears_when_scans_can_be_served_and_then_that_the_broker_lives() {
    require_root!();
    let mut this = Activated::idle();
    let path = this.env.dir().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bind");
    // Systemd's is for all; the broker has it connected by a user of its own.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let broker = this.program().variable("NOTIFY_SOCKET", &path);
    let broker = broker.variable("WATCHDOG_USEC", "30000000").spawn();
    this.env.put_back(broker);
    let admin = this.env.runtime().join(paths::ADMIN_SOCKET);
    wait_until("the broker runs", || admin.exists().then_some(()));
    // Signs of life may come before, not the other one.
    manager.set_nonblocking(true).expect("fcntl");
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        assert_eq!(&buffer[..length], b"WATCHDOG=1");
    }
    manager.set_nonblocking(false).expect("fcntl");
    this.env.start_scanner();
    // A minute of signs of life.
    let mut told = std::iter::repeat_with(|| said(&manager)).take(12);
    let ready = told.find(|said| said != "WATCHDOG=1");
    assert_eq!(ready.as_deref(), Some("READY=1\nSTATUS=Serving"));
    // Nothing else goes on: the main loop wakes up for this alone.
    assert_eq!([said(&manager), said(&manager)], ["WATCHDOG=1", "WATCHDOG=1"]);
}

#[test]
fn a_service_manager_that_has_gone_is_no_reason_to_end() {
    require_root!();
    let mut this = Activated::idle();
    let path = this.env.dir().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bind");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let broker = this.program().variable("NOTIFY_SOCKET", &path).spawn();
    this.env.put_back(broker);
    let admin = this.env.runtime().join(paths::ADMIN_SOCKET);
    wait_until("the broker runs", || admin.exists().then_some(()));
    drop(manager);
    this.env.start_scanner();
    this.env.broker().wait_for("the service manager was not told");
    let mut broker = this.env.take_broker();
    broker.signal(Signal::SIGTERM);
    assert_eq!(broker.take_output().code, Some(0));
}
