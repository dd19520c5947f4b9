//! What sealed processes are, and what becomes of those that try something else.
#![allow(missing_docs)]

mod common;

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use common::{Scanner, children, status};
use fdbroker_scanner::engine::compile::compile;
use fdbroker_scanner::{names, seal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

#[test]
fn sealed_processes_hold_nothing() {
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, &[]);
    let _worker = template.worker(1);
    let supervisor_pid = scanner.pid();
    let template_pid = children(supervisor_pid)[0];
    let worker_pid = children(template_pid)[0];
    for (pid, filters) in [(supervisor_pid, "0"), (template_pid, "1"), (worker_pid, "2")] {
        let field = |name| status(pid, name).unwrap();
        assert_eq!(field("NoNewPrivs"), "1", "{pid}");
        assert_eq!(field("Seccomp_filters"), filters, "{pid}");
        assert_eq!(field("Threads"), "1", "{pid}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{pid} {set}");
        }
        assert!(!field("Uid").split('\t').any(|id| id == "0"), "{pid}");
        // Owned by root because it is not dumpable, so others of its user cannot look inside.
        let inside = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&inside), 0, "{pid}");
    }
    assert_eq!(status(worker_pid, "Seccomp").unwrap(), "2");
    // The worker is ended before others when there is no memory, and the template with it.
    for pid in [template_pid, worker_pid] {
        let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(score.trim(), "500", "{pid}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{worker_pid}/limits"));
    let Ok(limits) = limits else {
        println!("skipped: limits are not readable");
        return;
    };
    for (limit, value) in [
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max processes", "0"),
        ("Max locked memory", "0"),
        ("Max open files", "300"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let hard = line[limit.len()..].split_whitespace().nth(1);
        assert_eq!(hard, Some(value), "{line}");
    }
}

/// Starts this program again to do what must end it.
fn end_of(deed: &str) -> Option<i32> {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "deed", "--ignored", "--test-threads=1"])
        .env("FDSCAND_DEED", deed)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    status.signal()
}

#[test]
fn a_worker_that_tries_something_else_is_killed() {
    for deed in
        ["open", "socket", "fork", "thread", "write", "prctl", "kill", "getfd", "memfd", "compile"]
    {
        let deed = format!("worker {deed}");
        assert_eq!(end_of(&deed), Some(libc::SIGSYS), "{deed}");
    }
    assert_eq!(end_of("worker abort"), Some(libc::SIGABRT));
    assert_eq!(end_of("worker nothing"), None);
}

#[test]
fn a_template_that_tries_something_else_is_killed() {
    for deed in ["open", "socket", "execute", "thread", "memfd", "compile"] {
        let deed = format!("template {deed}");
        assert_eq!(end_of(&deed), Some(libc::SIGSYS), "{deed}");
    }
    assert_eq!(end_of("template abort"), Some(libc::SIGABRT));
    assert_eq!(end_of("template nothing"), None);
}

#[test]
#[ignore = "started by the other tests"]
fn deed() {
    let Ok(deed) = std::env::var("FDSCAND_DEED") else {
        return;
    };
    let (role, deed) = deed.split_once(' ').unwrap();
    let (socket, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let file = common::file(b"contents");
    let mut buffer = [0; 8];
    // The engine sets itself up only once.
    assert!(compile(&[]).is_ok());
    // Only this thread of the test harness is sealed; killing takes them all.
    match role {
        "worker" => drop(seal::worker(socket.as_fd()).unwrap()),
        _ => seal::seccomp::template().unwrap(),
    }
    // What is allowed works, so whatever kills is the deed.
    assert_eq!(rustix::io::pread(&file, &mut buffer, 0), Ok(8));
    assert_eq!(rustix::io::write(&socket, b"x"), Ok(1));
    match deed {
        "open" => drop(std::fs::File::open("/etc/passwd")),
        "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
        "fork" | "execute" => drop(Command::new("/bin/true").status()),
        "thread" => drop(std::thread::Builder::new().spawn(|| ())),
        "write" => drop(rustix::io::write(&other, b"x")),
        "prctl" => drop(nix::sys::prctl::set_dumpable(true)),
        "kill" => drop(nix::sys::signal::kill(nix::unistd::getppid(), None)),
        "getfd" => drop(rustix::io::fcntl_getfd(&file)),
        "memfd" => drop(names::sealed_table(["a"], |_| Vec::new())),
        "compile" => drop(compile(&[])),
        "abort" => std::process::abort(),
        // The harness would do what is not allowed.
        #[allow(clippy::exit)]
        _ => std::process::exit(0),
    }
    // Not killed, and not what `nothing` does either.
    std::process::abort();
}
