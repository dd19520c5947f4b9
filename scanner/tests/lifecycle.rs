//! How supervisor, templates and workers start and end.
#![allow(missing_docs)]

mod common;

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;

use common::{Scanner, children, fdscand, pidfd, receive, status, wait_readable};
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::job_link::{Finding, WorkerToOpener};
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_scanner::engine::eicar;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::unistd::Pid;

const RULES: &[(&str, &str)] = &[("a.yar", "rule a { strings: $a = \"needle\" condition: $a }")];

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn root_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root to be refused");
        return;
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fdscand"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(
            "fdscand must not run as root; start it as its own user, e.g. sudo -u nobody fdscand"
        ),
        "{told}"
    );
}

#[test]
fn bad_rules_are_rejected_with_file_and_line() {
    let mut scanner = Scanner::start();
    let mut template = scanner.template(1);
    let bad = [RULES[0], ("bad.yar", "rule b {\n condition:\n  nonsense }")];
    let reason = template.compile(&bad).err().unwrap();
    assert!(reason.starts_with("bad.yar:3: "), "{reason}");
    assert!(matches!(receive(&mut template.link), Err(ChannelError::Closed)));
    // The next one is none the worse.
    let (mut template, _) = scanner.ready(2, RULES);
    assert_eq!(template.worker(1).scan(b"needle"), Finding::Match(vec![1]));
}

#[test]
fn generations_live_side_by_side() {
    let mut scanner = Scanner::start();
    let (mut old, first) = scanner.ready(1, RULES);
    let mut busy = old.worker(1);
    let (mut new, second) = scanner.ready(2, &[("a.yar", "rule z { condition: true }")]);
    let (_, again) = scanner.ready(3, RULES);
    assert_ne!(first.generation, second.generation);
    assert_eq!(first.generation, again.generation);
    let mut forked = new.fork(1);
    assert_eq!(receive(&mut forked.link).unwrap().0, WorkerToOpener::Ready(second.generation));
    assert_eq!(forked.scan(b"needle"), Finding::Match(vec![1]));
    assert_eq!(busy.scan(b"needle"), Finding::Match(vec![1]));
    let pid = children(scanner.pid())[0];
    let end = pidfd(pid);
    drop(old);
    wait_readable(end.as_fd());
    assert_eq!(forked.scan(b""), Finding::Match(vec![1]));
}

#[test]
fn a_killed_worker_is_reported_and_others_live() {
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, RULES);
    let mut first = template.worker(1);
    let mut second = template.worker(2);
    template.link.send(&BrokerToTemplate::Kill { worker: 1 }, &[]).unwrap();
    let killed = TemplateToBroker::Exited { worker: 1, cause: LossCause::Killed };
    assert_eq!(template.event(), killed);
    assert!(matches!(receive(&mut first.link), Err(ChannelError::Closed)));
    // It is gone already: nothing happens.
    template.link.send(&BrokerToTemplate::Kill { worker: 1 }, &[]).unwrap();
    assert_eq!(second.scan(b"needle"), Finding::Match(vec![1]));
    assert_eq!(template.worker(3).scan(b""), Finding::Clean);
}

#[test]
fn a_crash_is_reported_with_its_signal() {
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, RULES);
    let mut first = template.worker(1);
    let template_pid = children(scanner.pid())[0];
    let worker_pid = children(template_pid)[0];
    let mut second = template.worker(2);
    // The engine's handler would take SIGSEGV for one of its own faults at first.
    signal(worker_pid, Signal::SIGABRT);
    let cause = LossCause::Signal(libc::SIGABRT);
    assert_eq!(template.event(), TemplateToBroker::Exited { worker: 1, cause });
    assert!(matches!(receive(&mut first.link), Err(ChannelError::Closed)));
    assert_eq!(second.scan(&eicar::test_file()), Finding::Match(vec![0]));
}

#[test]
fn garbage_ends_the_worker_alone() {
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, RULES);
    let garbled = template.worker(1);
    let socket = garbled.link.into_descriptor();
    nix::sys::socket::send(
        socket.as_raw_fd(),
        b"\x01\x21garbage",
        nix::sys::socket::MsgFlags::empty(),
    )
    .unwrap();
    let cause = LossCause::Exit(1);
    assert_eq!(template.event(), TemplateToBroker::Exited { worker: 1, cause });
    let orderly = template.worker(2);
    drop(orderly);
    let cause = LossCause::Exit(0);
    assert_eq!(template.event(), TemplateToBroker::Exited { worker: 2, cause });
    assert_eq!(template.worker(3).scan(b"needle"), Finding::Match(vec![1]));
}

#[test]
fn no_worker_before_rules() {
    let mut scanner = Scanner::start();
    let mut template = scanner.template(1);
    template.link.send(&BrokerToTemplate::Fork { worker: 1 }, &[]).unwrap();
    assert!(matches!(receive(&mut template.link), Err(ChannelError::Closed)));
}

#[test]
fn everything_ends_with_the_supervisor() {
    for how in [None, Some(Signal::SIGTERM), Some(Signal::SIGINT), Some(Signal::SIGKILL)] {
        let mut scanner = Scanner::start();
        let (mut template, _) = scanner.ready(1, RULES);
        let _worker = template.worker(1);
        let template_pid = children(scanner.pid())[0];
        let ends = [template_pid, children(template_pid)[0]].map(pidfd);
        match how {
            Some(how) => signal(scanner.pid(), how),
            // The broker goes away.
            None => {
                let (unused, _) = Channel::pair().unwrap();
                drop(std::mem::replace(&mut scanner.link, unused));
            }
        }
        let exit = scanner.process.wait().unwrap();
        assert_eq!(exit.success(), how != Some(Signal::SIGKILL), "{how:?}: {exit}");
        for end in &ends {
            wait_readable(end.as_fd());
        }
    }
}

/// A broker's socket in a directory of its own.
struct Listener {
    directory: std::path::PathBuf,
    socket: std::os::fd::OwnedFd,
}

impl Listener {
    fn bind(directory: &std::path::Path) -> Self {
        let path = directory.join(fdbroker_common::paths::SCANNER_SOCKET);
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket =
            nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
                .unwrap();
        nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, mode).unwrap();
        nix::sys::socket::listen(&socket, Backlog::new(4).unwrap()).unwrap();
        Self { directory: directory.to_owned(), socket }
    }

    fn accept(&self) -> Channel<BrokerToSupervisor, SupervisorToBroker> {
        wait_readable(self.socket.as_fd());
        Channel::adopt(rustix::net::accept(&self.socket).unwrap()).unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.join(fdbroker_common::paths::SCANNER_SOCKET));
    }
}

#[test]
fn an_absent_broker_is_waited_for_and_said_once() {
    let directory = std::env::temp_dir().join(format!("fdscand-run-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let (mut command, _program) = fdscand();
    let mut process = command
        .arg("--runtime-dir")
        .arg(&directory)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines();
    let first = told.next().unwrap().unwrap();
    assert!(first.contains("no broker there"), "{first}");
    for _ in 0..2 {
        let listener = Listener::bind(&directory);
        let mut link = listener.accept();
        let hello = SupervisorToBroker::Hello { workers: 0 };
        assert_eq!(receive(&mut link).unwrap().0, hello);
        link.send(&BrokerToSupervisor::StartTemplate { template: 1 }, &[]).unwrap();
        let (_, descriptors) = receive(&mut link).unwrap();
        assert_eq!(descriptors.len(), 1);
        let template = children(i32::try_from(process.id()).unwrap())[0];
        let end = pidfd(template);
        drop(link);
        drop(listener);
        wait_readable(end.as_fd());
    }
    signal(i32::try_from(process.id()).unwrap(), Signal::SIGTERM);
    assert!(process.wait().unwrap().success());
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    let count = |what: &str| rest.iter().filter(|line| line.contains(what)).count();
    assert_eq!(count("the broker has gone"), 2, "{rest:#?}");
    assert!(count("no broker there") <= 2, "{rest:#?}");
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn inherited_descriptors_and_environment_end_at_the_supervisor() {
    // dup(2) clears close-on-exec.
    let _leak = nix::unistd::dup(common::file(b"leak")).unwrap();
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, RULES);
    let _worker = template.worker(1);
    let template_pid = children(scanner.pid())[0];
    let worker_pid = children(template_pid)[0];
    assert!(status(worker_pid, "Name").as_deref() == Some("fdscand-worker"));
    let Ok(environment) = std::fs::read(format!("/proc/{template_pid}/environ")) else {
        println!("skipped: only root may look inside a sealed process");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&environment), "");
    let open = |pid| {
        let list = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut targets: Vec<String> = list
            .map(|entry| {
                let target = std::fs::read_link(entry.unwrap().path()).unwrap();
                target.to_str().unwrap().split(':').next().unwrap().to_owned()
            })
            .collect();
        targets.sort();
        targets
    };
    let leaked = |pid| open(pid).iter().any(|target| target.contains("fdscand-test"));
    assert!(!leaked(scanner.pid()) && !leaked(template_pid));
    // Standard input, output and error, and the job link.
    assert_eq!(open(worker_pid), ["/dev/null", "/dev/null", "pipe", "socket"]);
}
