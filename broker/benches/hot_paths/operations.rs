//! The operations: messages of the size that they have in a large scan, descriptors on their way, and a
//! walk with everything that opens a file.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use fdbroker_broker::opener::open::OpenContext;
use fdbroker_broker::opener::walk::{Step, Walk, WalkOptions};
use fdbroker_common::channel::Channel;
use fdbroker_common::client_link::{OpenerToClient, Report};
use fdbroker_common::job_link::{Answer, Finding, Job, OpenerToWorker, WorkerToOpener};
use fdbroker_common::limits::{BATCH_FILES_MAX, REPORTS_PER_MESSAGE_MAX};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::stamp::Stamp;
use fdbroker_common::wire::{Message, decode, encode};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Files of the directory that is walked.
const WALKED: usize = 500;

/// Repeats an operation.
type Repeat = Box<dyn FnMut(usize)>;

/// Something that is done for each file.
pub struct Operation {
    pub name: &'static str,
    pub each: &'static str,
    /// How many of these one repetition has.
    pub items: usize,
    pub prepare: fn() -> Repeat,
}

const fn operation(
    name: &'static str,
    each: &'static str,
    items: usize,
    prepare: fn() -> Repeat,
) -> Operation {
    Operation { name, each, items, prepare }
}

pub const OPERATIONS: [Operation; 8] = [
    operation("encode-jobs", "file", BATCH_FILES_MAX, || encoding(jobs())),
    operation("decode-jobs", "file", BATCH_FILES_MAX, || decoding(jobs())),
    operation("encode-answers", "file", BATCH_FILES_MAX, || encoding(answers())),
    operation("decode-answers", "file", BATCH_FILES_MAX, || decoding(answers())),
    operation("encode-reports", "report", REPORTS_PER_MESSAGE_MAX, || encoding(reports())),
    operation("decode-reports", "report", REPORTS_PER_MESSAGE_MAX, || decoding(reports())),
    operation("pass", "descriptor", BATCH_FILES_MAX, passing),
    operation("walk-and-open", "file", WALKED, walking),
];

fn number(nth: usize) -> u32 {
    u32::try_from(nth).unwrap_or(0)
}

fn jobs() -> OpenerToWorker {
    let time = 1_790_000_000_123_456_789;
    let stamp = Stamp { size: 6000, modified_ns: time, changed_ns: time };
    let job = |nth| Job { id: 20_000 + number(nth), stamp, bytes_max: 1 << 31, name: None };
    OpenerToWorker::Scan((0..BATCH_FILES_MAX).map(job).collect())
}

fn answers() -> WorkerToOpener {
    let answer = |nth| Answer { id: 20_000 + number(nth), read: 6000, finding: Finding::Clean };
    WorkerToOpener::Answers((0..BATCH_FILES_MAX).map(answer).collect())
}

fn reports() -> OpenerToClient {
    let report = |nth: usize| Report {
        target: 0,
        path: format!("0123/note-{nth:04}.txt").into_bytes().into(),
        size: 6000,
        outcome: Outcome::Clean,
    };
    OpenerToClient::Reports((0..REPORTS_PER_MESSAGE_MAX).map(report).collect())
}

fn encoding<M: Message + 'static>(message: M) -> Repeat {
    let mut buffer = Vec::new();
    Box::new(move |times| {
        for _ in 0..times {
            encode(black_box(&message), &mut buffer).expect("within limits");
            black_box(&buffer);
        }
    })
}

fn decoding<M: Message + 'static>(message: M) -> Repeat {
    let mut buffer = Vec::new();
    encode(&message, &mut buffer).expect("within limits");
    Box::new(move |times| {
        for _ in 0..times {
            black_box(decode::<M>(black_box(&buffer)).expect("a message"));
        }
    })
}

/// A whole batch through a socket pair: encoded, sent, received, decoded, closed.
fn passing() -> Repeat {
    type Near = Channel<OpenerToWorker, WorkerToOpener>;
    type Far = Channel<WorkerToOpener, OpenerToWorker>;

    let (mut near, far) = Near::pair().expect("socketpair");
    let mut far = Far::adopt(far).expect("a channel");
    let message = jobs();
    let open = |_| OwnedFd::from(File::open("/proc/self/exe").expect("open"));
    let files: Vec<OwnedFd> = (0..BATCH_FILES_MAX).map(open).collect();
    Box::new(move |times| {
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        for _ in 0..times {
            near.send(&message, &borrowed).expect("sent");
            black_box(far.receive().expect("received"));
        }
    })
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("fdbroker-hot-paths-{}", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        for nth in 0..WALKED {
            std::fs::write(path.join(format!("note-{nth:04}.txt")), b"text").expect("write");
        }
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Looks up, judges, opens and closes each file of a directory.
fn walking() -> Repeat {
    let scratch = Scratch::new();
    let context = Rc::new(OpenContext::new().expect("/proc"));
    let options = Rc::new(WalkOptions::default());
    Box::new(move |times| {
        for _ in 0..times {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let target = openat(CWD, &scratch.0, flags, Mode::empty()).expect("open");
            let mut walk =
                Walk::new(target, b"tree".to_vec(), Rc::clone(&options), Rc::clone(&context));
            let mut files = 0;
            loop {
                match walk.next() {
                    Step::File { path, file } => {
                        drop(black_box((path, file)));
                        files += 1;
                    }
                    Step::Outcome { outcome, .. } => panic!("{outcome:?}"),
                    Step::Pause => {}
                    Step::End => break,
                }
            }
            assert_eq!(files, WALKED);
        }
    })
}
