//! A broker whose client socket is somebody else's, as under systemd: who comes early waits, who asks while it
//! is restarted is served, and the service manager hears how it is.
//!
//! The tests hold the socket themselves and pass it as sd_listen_fds(3) says; systemd-socket-activate(1)
//! ends with the first broker that it starts.

mod load;
mod notify;
mod refusals;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fdbroker_common::paths;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::program::executable;
use fdbroker_tests::{Caller, Env, Program, Running, require_root, wait_until};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

/// A listening socket that everybody may connect to.
fn listening(path: &Path, kind: SockType) -> OwnedFd {
    let made = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).expect("socket");
    bind(made.as_raw_fd(), &UnixAddr::new(path).expect("address")).expect("bind");
    listen(&made, Backlog::new(128).expect("backlog")).expect("listen");
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(path, everybody).expect("chmod");
    made
}

/// fdbroker, with a socket as descriptor 3 and what a service manager says of it, to be completed.
fn activated(runtime: &Path, socket: &OwnedFd) -> Program {
    // What is executed has the process id of the shell.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ WATCHDOG_PID=$$; exec \"$@\"";
    Program::at(Path::new("/bin/sh"))
        .args(["-c", script, "sh"])
        .arg(executable("fdbroker"))
        .arg("--runtime-dir")
        .arg(runtime)
        .variable("LISTEN_FDS", "1")
        .stdin(socket.try_clone().expect("a descriptor"))
}

/// A broker whose socket stays when it ends.
struct Activated {
    env: Env,
    socket: OwnedFd,
}

impl Activated {
    /// The socket, and nothing that would serve it.
    fn idle() -> Self {
        let env = Env::build().idle();
        let socket = listening(&env.client_socket(), SockType::SeqPacket);
        Self { env, socket }
    }

    fn program(&self) -> Program {
        activated(self.env.runtime(), &self.socket).variable("LISTEN_FDNAMES", "client")
    }

    fn start(&mut self) {
        let broker = self.program().spawn();
        self.env.put_back(broker);
    }

    /// Ends the broker as a service manager does.
    fn stop(&mut self) {
        let mut broker = self.env.take_broker();
        broker.signal(Signal::SIGTERM);
        assert_eq!(broker.take_output().code, Some(0));
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // The broker leaves it to us.
        let _ = std::fs::remove_file(self.env.client_socket());
    }
}

fn served(scan: Running) {
    let output = scan.finish().expect_code(1);
    assert!(output.text().contains("EICAR_Test_File FOUND"), "{output}");
}

#[test]
fn who_connects_before_anything_runs_is_served_as_soon_as_scans_can_be() {
    require_root!();
    let mut this = Activated::idle();
    let eicar = this.env.file("eicar", EICAR);
    let scan = |env: &Env| env.fdscan_program(&Caller::user(2000)).arg(&eicar).spawn();
    let first = scan(&this.env);
    this.start();
    wait_until("the broker runs", || {
        this.env.runtime().join(paths::ADMIN_SOCKET).exists().then_some(())
    });
    let second = scan(&this.env);
    // Nobody is accepted yet.
    assert_eq!(this.env.status().connections, 0);
    this.env.start_scanner();
    served(first);
    served(second);
    // Openers tell of a connection a moment after its client has heard all.
    wait_until("both are counted", || (this.env.status().connections == 2).then_some(()));
}

#[test]
fn the_socket_is_left_when_the_broker_ends_and_served_by_the_next_one() {
    require_root!();
    let mut this = Activated::idle();
    let eicar = this.env.file("eicar", EICAR);
    this.start();
    this.env.start_scanner();
    for _ in 0..2 {
        served(this.env.fdscan_program(&Caller::user(2000)).arg(&eicar).spawn());
        this.stop();
        let socket = |name: &str| this.env.runtime().join(name).exists();
        assert!(socket(paths::CLIENT_SOCKET));
        assert!(!socket(paths::SCANNER_SOCKET) && !socket(paths::ADMIN_SOCKET));
        let meanwhile = this.env.fdscan_program(&Caller::user(2001)).arg(&eicar).spawn();
        this.start();
        served(meanwhile);
    }
}

#[test]
fn the_processes_of_an_activated_broker_inherit_nothing_of_it() {
    require_root!();
    let mut this = Activated::idle();
    this.start();
    this.env.start_scanner();
    let eicar = this.env.file("eicar", EICAR);
    served(this.env.fdscan_program(&Caller::user(2000)).arg(&eicar).spawn());
    let name = rustix::fs::fstat(&this.socket).expect("fstat").st_ino;
    let name = format!("socket:[{name}]");
    let holders: Vec<u32> = this
        .env
        .processes()
        .iter()
        .map(|entry| entry.pid)
        .filter(|pid| {
            let open = fdbroker_tests::proc::descriptors(*pid);
            open.iter().any(|(_, path)| path.as_os_str() == name.as_str())
        })
        .collect();
    assert_eq!(holders, [this.env.broker().pid()]);
}
