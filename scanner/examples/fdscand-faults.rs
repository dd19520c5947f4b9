//! `fdscand` with an engine that misbehaves on demand, for the tests of what that costs; never installed.
//!
//! The processes, the seal and the real engine are those of `fdscand`. Only a file whose contents begin
//! with `FDBROKER-FAULT:` and the name of a fault has the worker do that, inside its seal.
//!
//! With a rule that matches `FDBROKER-FAULT-AT-START`, each worker announces rules that it has not.
#![allow(clippy::exit)]

use std::hint::black_box;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;

use fdbroker_common::generation::GenerationId;
use fdbroker_common::job_link::{Answer, Finding, WorkerToOpener};
use fdbroker_common::limits::MESSAGE_BYTES_MAX;
use fdbroker_common::wire::encode;
use fdbroker_scanner::engine::yara::Yara;
use fdbroker_scanner::engine::{Engine, Verdict, eicar};
use nix::sys::signal::SigSet;
use rustix::fs::FileType;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

const MARK: &[u8] = b"FDBROKER-FAULT:";
const AT_START: &[u8] = b"FDBROKER-FAULT-AT-START";
const FOREIGN: GenerationId = GenerationId([0xa5; 16]);
/// What an endless eater takes at a time.
const MOUTHFUL: usize = 16 << 20;

fn main() -> ExitCode {
    fdbroker_scanner::main_with(Faulty::new)
}

struct Faulty {
    engine: Yara,
    /// Scans of the self-test that are still to come.
    tests: u32,
    lies_at_start: bool,
    /// The number of the next job: an opener counts them from 0.
    job: u32,
}

/// Counts what a self-test scans.
struct Counting<'a>(&'a mut Yara, u32);

impl Engine for Counting<'_> {
    fn scan(&mut self, data: &[u8], name: Option<&[u8]>) -> Verdict {
        self.1 += 1;
        self.0.scan(data, name)
    }
}

impl Faulty {
    fn new(mut engine: Yara) -> Self {
        let mut counting = Counting(&mut engine, 0);
        eicar::self_test(&mut counting).expect("the engine works");
        let tests = counting.1;
        let lies_at_start = engine.scan(AT_START, None) != Verdict::Clean;
        Self { engine, tests, lies_at_start, job: 0 }
    }
}

impl Engine for Faulty {
    fn scan(&mut self, data: &[u8], name: Option<&[u8]>) -> Verdict {
        if self.tests > 0 {
            self.tests -= 1;
            if std::mem::take(&mut self.lies_at_start) {
                say(&WorkerToOpener::Ready(FOREIGN));
            }
            return self.engine.scan(data, name);
        }
        let job = self.job;
        self.job += 1;
        if let Some(fault) = data.strip_prefix(MARK) {
            let end = fault.iter().position(|byte| *byte == b'\n').unwrap_or(fault.len());
            let read = u64::try_from(data.len()).expect("a size");
            return misbehave(&fault[..end], job, read);
        }
        self.engine.scan(data, name)
    }
}

/// Does what the name says. What returns gives the verdict that the worker then answers with.
fn misbehave(fault: &[u8], job: u32, read: u64) -> Verdict {
    let clean = |id| WorkerToOpener::Answers(vec![Answer { id, read, finding: Finding::Clean }]);
    match fault {
        b"segv" => crash::write_to_nowhere(),
        b"ill" => crash::illegal_instruction(),
        b"abort" => std::process::abort(),
        b"stack" => drop(dive(0)),
        b"panic" => panic!("as the file asked"),
        b"exit-0" => std::process::exit(0),
        b"exit-1" => std::process::exit(1),
        b"half-an-answer" => {
            let bytes = encoded(&clean(job));
            send(&bytes[..bytes.len() / 2]);
            std::process::exit(0);
        }
        b"answer-and-exit" => {
            say(&clean(job));
            std::process::exit(0);
        }
        b"loop" => {
            SigSet::all().thread_block().expect("sigprocmask");
            loop {
                std::hint::spin_loop();
            }
        }
        b"sleep" => sleep(),
        b"memory" => loop {
            std::mem::forget(black_box(vec![1_u8; MOUTHFUL]));
        },
        b"twice" => say(&clean(job)),
        b"unknown-job" => say(&clean(job.wrapping_sub(1_000_000))),
        b"later-job" => say(&clean(job + 1)),
        b"ready-again" => say(&WorkerToOpener::Ready(FOREIGN)),
        b"no-such-rule" => return Verdict::Match(vec![u32::MAX]),
        b"garbage" => send(&[0xff; 100]),
        b"oversized" => send(&[1; MESSAGE_BYTES_MAX + 1]),
        b"flood" => loop {
            say(&clean(job));
        },
        b"close" => {
            nix::unistd::close(link().as_raw_fd()).expect("close");
            sleep();
        }
        b"descriptors" => send_descriptor(),
        b"open" => drop(std::fs::File::open("/etc/passwd")),
        b"limit" => {
            let cpu = nix::sys::resource::Resource::RLIMIT_CPU;
            let _ = nix::sys::resource::setrlimit(cpu, 0, 0);
        }
        _ => return Verdict::Failed,
    }
    Verdict::Clean
}

fn sleep() -> ! {
    loop {
        std::thread::park();
    }
}

#[expect(unconditional_recursion, reason = "that is the fault")]
fn dive(depth: usize) -> [usize; 512] {
    let mut deeper = dive(black_box(depth + 1));
    deeper[depth % 512] += depth;
    black_box(deeper)
}

/// The job link: the only socket of a worker.
fn link() -> BorrowedFd<'static> {
    let is_socket = |descriptor: &BorrowedFd<'_>| {
        rustix::fs::fstat(descriptor)
            .is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::Socket)
    };
    (0..64).map(crash::borrow).find(is_socket).expect("a job link")
}

/// An end of the link is no end of the fault.
fn send(bytes: &[u8]) {
    let _ = rustix::net::send(link(), bytes, SendFlags::NOSIGNAL);
}

fn encoded(message: &WorkerToOpener) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).expect("it can be encoded");
    bytes
}

fn say(message: &WorkerToOpener) {
    send(&encoded(message));
}

fn send_descriptor() {
    let link = link();
    let descriptors = [link];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let bytes = encoded(&WorkerToOpener::Ready(FOREIGN));
    let bytes = [std::io::IoSlice::new(&bytes)];
    let _ = rustix::net::sendmsg(link, &bytes, &mut control, SendFlags::NOSIGNAL);
}

/// What cannot be done without `unsafe`.
mod crash {
    use std::os::fd::BorrowedFd;

    pub fn write_to_nowhere() {
        // SAFETY: none; the page at 0 is never mapped, so the kernel ends the process here.
        unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    }

    pub fn illegal_instruction() {
        // SAFETY: the instruction has no effect but the signal that ends the process.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!("ud2");
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!("udf #0");
        }
    }

    pub fn borrow(number: i32) -> BorrowedFd<'static> {
        // SAFETY: it is only asked what it is, which fails when it is none; the one that is a socket
        // stays open as long as the worker, which holds it, lives.
        unsafe { BorrowedFd::borrow_raw(number) }
    }
}
