//! Plays the broker and an opener against a real `fdscand`.
//!
//! Dropping a [`Scanner`] kills its supervisor, and with it every template and worker. As root it
//! runs as the user nobody, by a held descriptor, so that a private home directory is no obstacle.
#![allow(dead_code, missing_docs)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{
    Answer, Examined, Finding, Job, OpenerToWorker, Wanted, WorkerToOpener,
};
use fdbroker_common::limits::FILE_BYTES_MAX;
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::stamp::Stamp;
use fdbroker_common::wire::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

pub fn wait_readable(descriptor: BorrowedFd<'_>) {
    let mut events = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let ready = poll(&mut events, Some(&PATIENCE)).unwrap();
    assert_eq!(ready, 1, "nothing happened within {} s", PATIENCE.tv_sec);
}

pub fn receive<Tx: Message, Rx: Message>(
    link: &mut Channel<Tx, Rx>,
) -> Result<(Rx, Vec<OwnedFd>), ChannelError> {
    wait_readable(link.as_fd());
    link.receive()
}

/// `fdscand`, as somebody who is not root.
pub fn fdscand() -> (Command, File) {
    let program = File::open(env!("CARGO_BIN_EXE_fdscand")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    (command, program)
}

/// A supervisor whose broker is the test.
pub struct Scanner {
    pub process: Child,
    pub link: Channel<BrokerToSupervisor, SupervisorToBroker>,
}

impl Scanner {
    pub fn start() -> Self {
        Self::start_with(Stdio::inherit())
    }

    pub fn start_with(stderr: Stdio) -> Self {
        let (mut link, theirs) = Channel::<BrokerToSupervisor, SupervisorToBroker>::pair().unwrap();
        let (mut command, _program) = fdscand();
        let process = command
            .args(["--broker-on-stdin", "--workers", "3"])
            .stdin(Stdio::from(theirs))
            .stderr(stderr)
            .spawn()
            .unwrap();
        // The command keeps our copy of the other end until it is dropped.
        drop(command);
        let (hello, _) = receive(&mut link).unwrap();
        assert_eq!(hello, SupervisorToBroker::Hello { workers: 3 });
        Self { process, link }
    }

    /// Starts a template; no rules yet.
    pub fn template(&mut self, template: u32) -> Template {
        self.link.send(&BrokerToSupervisor::StartTemplate { template }, &[]).unwrap();
        let (message, mut descriptors) = receive(&mut self.link).unwrap();
        assert_eq!(message, SupervisorToBroker::Template { template });
        Template { link: Channel::adopt(descriptors.remove(0)).unwrap() }
    }

    /// Starts a template with rules that compile.
    pub fn ready(&mut self, template: u32, rules: &[(&str, &str)]) -> (Template, Ready) {
        let mut template = self.template(template);
        match template.compile(rules) {
            Ok(ready) => (template, ready),
            Err(reason) => panic!("rejected: {reason}"),
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Ready {
    pub generation: GenerationId,
    pub rules: u32,
    pub wants_names: bool,
    pub table: RuleTable,
}

pub struct Template {
    pub link: Channel<BrokerToTemplate, TemplateToBroker>,
}

impl Template {
    pub fn compile(&mut self, rules: &[(&str, &str)]) -> Result<Ready, String> {
        for part in rules.chunks(64) {
            let names = part.iter().map(|(name, _)| name.as_bytes().to_vec().into());
            let files: Vec<OwnedFd> = part.iter().map(|(_, text)| file(text.as_bytes())).collect();
            let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            self.link.send(&BrokerToTemplate::Rules(names.collect()), &files).unwrap();
        }
        self.link.send(&BrokerToTemplate::Compile, &[]).unwrap();
        match receive(&mut self.link).unwrap() {
            (TemplateToBroker::Ready { generation, rules, wants_names }, table) => Ok(Ready {
                generation,
                rules,
                wants_names,
                table: RuleTable::read(&table[0]).unwrap(),
            }),
            (TemplateToBroker::Rejected { reason }, _) => {
                Err(String::from_utf8(reason.into_vec()).unwrap())
            }
            (other, _) => panic!("unexpected {other:?}"),
        }
    }

    /// Forks a worker; `Ready` is not received yet.
    pub fn fork(&mut self, worker: u32) -> Worker {
        self.link.send(&BrokerToTemplate::Fork { worker }, &[]).unwrap();
        let (message, mut descriptors) = receive(&mut self.link).unwrap();
        assert_eq!(message, TemplateToBroker::Worker { worker });
        Worker { link: Channel::adopt(descriptors.remove(0)).unwrap() }
    }

    /// Forks a worker that is ready.
    pub fn worker(&mut self, worker: u32) -> Worker {
        let mut forked = self.fork(worker);
        match receive(&mut forked.link).unwrap().0 {
            WorkerToOpener::Ready(_) => forked,
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn event(&mut self) -> TemplateToBroker {
        receive(&mut self.link).unwrap().0
    }
}

pub struct Worker {
    pub link: Channel<OpenerToWorker, WorkerToOpener>,
}

impl Worker {
    pub fn send(&mut self, jobs: Vec<Job>, files: &[OwnedFd]) {
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        self.link.send(&OpenerToWorker::Scan(jobs), &files).unwrap();
    }

    pub fn answers(&mut self, count: usize) -> Vec<Answer> {
        let mut all = Vec::new();
        while all.len() < count {
            match receive(&mut self.link).unwrap().0 {
                WorkerToOpener::Answers(answers) => all.extend(answers),
                other => panic!("unexpected {other:?}"),
            }
        }
        all
    }

    /// Sends one job, of which this is wanted, and waits for what comes of it.
    pub fn examine(&mut self, contents: &[u8], wanted: Wanted) -> Examined {
        let file = file(contents);
        let message = OpenerToWorker::Examine(wanted, vec![job(1, &file)]);
        self.link.send(&message, &[file.as_fd()]).unwrap();
        match receive(&mut self.link).unwrap().0 {
            WorkerToOpener::Examined(mut examined) => examined.remove(0),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Sends one job and waits for its finding.
    pub fn judge(&mut self, job: Job, file: OwnedFd) -> Answer {
        self.send(vec![job], &[file]);
        self.answers(1).remove(0)
    }

    /// Judges a file with these contents.
    pub fn scan(&mut self, contents: &[u8]) -> Finding {
        let file = file(contents);
        self.judge(job(1, &file), file).finding
    }
}

/// A job as an opener makes it.
pub fn job(id: u32, file: &OwnedFd) -> Job {
    Job { id, stamp: Stamp::take(file).unwrap(), bytes_max: FILE_BYTES_MAX, name: None }
}

/// A temporary file that is removed at once, with a descriptor for writing and one for reading.
pub fn file_pair(contents: &[u8]) -> (File, OwnedFd) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("fdscand-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut writer = File::create_new(&path).unwrap();
    let reader = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    writer.write_all(contents).unwrap();
    (writer, reader.into())
}

/// A read-only descriptor of a file with these contents.
pub fn file(contents: &[u8]) -> OwnedFd {
    file_pair(contents).1
}

/// Process ids of the children of a process, ascending.
pub fn children(parent: i32) -> Vec<i32> {
    let mut found: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| status(*pid, "PPid").as_deref() == Some(parent.to_string().as_str()))
        .collect();
    found.sort_unstable();
    found
}

/// A field of `/proc/PID/status`; none when there is no such process.
pub fn status(pid: i32, field: &str) -> Option<String> {
    let mut text = String::new();
    let path = format!("/proc/{pid}/status");
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Some(line?.trim().to_owned())
}

pub fn pidfd(pid: i32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}
