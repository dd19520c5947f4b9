//! The physical limit: open → sendmsg of 64 descriptors → recvmsg → pread → close, by one sender and two
//! receivers, without a sandbox, a check, or anything that looks at the bytes. And the same with the system
//! calls by which an opener makes sure what it opens, which is the limit of any program that does so.
//!
//! The receivers are this program, started anew.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fdbroker_common::fdpass;
use fdbroker_common::limits::BATCH_FILES_MAX;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags, fstat, openat, openat2,
    statx,
};
use rustix::io::pread;
use rustix::path::DecInt;

const RECEIVERS: usize = 2;
/// Batches that a receiver has before it.
const IN_FLIGHT_MAX: usize = 2;
/// Larger than any file of the tree.
const BUFFER_BYTES: usize = 64 * 1024;

struct Receiver {
    child: Child,
    socket: UnixDatagram,
    outstanding: usize,
}

impl Receiver {
    fn start() -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("socketpair");
        let own = std::env::current_exe().expect("own executable");
        let child = Command::new(own).arg("receive").stdin(Stdio::from(theirs)).spawn();
        Self { child: child.expect("a receiver"), socket: ours.into(), outstanding: 0 }
    }

    fn pass(&mut self, batch: &mut Vec<OwnedFd>) {
        let borrowed: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
        fdpass::send(&self.socket, &[0], &borrowed).expect("sendmsg");
        self.outstanding += 1;
        batch.clear();
    }

    fn hear(&mut self) {
        let length = fdpass::receive_plain(&self.socket, &mut [0]).expect("an answer");
        assert_eq!(length, 1, "a receiver has ended");
        self.outstanding -= 1;
    }
}

/// The least loaded receiver, once it has room.
fn least_loaded(receivers: &mut [Receiver]) -> &mut Receiver {
    while receivers.iter().all(|receiver| receiver.outstanding >= IN_FLIGHT_MAX) {
        hear_any(receivers);
    }
    receivers.iter_mut().min_by_key(|receiver| receiver.outstanding).expect("receivers")
}

fn hear_any(receivers: &mut [Receiver]) {
    let mut waited: Vec<PollFd<'_>> =
        receivers.iter().map(|receiver| PollFd::new(&receiver.socket, PollFlags::IN)).collect();
    poll(&mut waited, None).expect("poll");
    let ready: Vec<bool> = waited.iter().map(|fd| !fd.revents().is_empty()).collect();
    for (receiver, _) in receivers.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        receiver.hear();
    }
}

/// How the sender opens a file of a directory.
type Open<'a> = dyn Fn(&File, &CStr) -> OwnedFd + 'a;

/// The sender.
pub fn pass(tree: &Path) {
    send(tree, &open);
}

/// The sender, with the calls of an opener.
pub fn pass_vetted(tree: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = openat(CWD, c"/proc/self/fd", flags, Mode::empty()).expect("/proc");
    send(tree, &|directory, name| open_vetted(&own, directory, name));
}

fn open(directory: &File, name: &CStr) -> OwnedFd {
    openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

/// What is it? Then open that very thing, and look at it again.
fn open_vetted(own: &OwnedFd, directory: &File, name: &CStr) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let node = openat2(directory, name, flags, Mode::empty(), beneath).expect("openat2");
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let about = statx(&node, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted);
    std::hint::black_box(about.expect("statx"));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(own, DecInt::from_fd(&node).as_c_str(), flags, Mode::empty()).expect("open");
    std::hint::black_box(fstat(&file).expect("fstat"));
    file
}

fn send(tree: &Path, open: &Open<'_>) {
    let mut receivers: Vec<Receiver> = (0..RECEIVERS).map(|_| Receiver::start()).collect();
    let mut batch = Vec::with_capacity(BATCH_FILES_MAX);
    each_file(tree, open, |file| {
        batch.push(file);
        if batch.len() == BATCH_FILES_MAX {
            least_loaded(&mut receivers).pass(&mut batch);
        }
    });
    if !batch.is_empty() {
        least_loaded(&mut receivers).pass(&mut batch);
    }
    for mut receiver in receivers {
        while receiver.outstanding > 0 {
            receiver.hear();
        }
        drop(receiver.socket);
        assert!(receiver.child.wait().expect("wait").success());
    }
}

/// A receiver, with its link as standard input.
pub fn receive() {
    let link = std::io::stdin().as_fd().try_clone_to_owned().expect("dup");
    let link = UnixDatagram::from(link);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let packet = fdpass::receive(&link, &mut [0]).expect("recvmsg");
        if packet.length == 0 {
            return;
        }
        packet.descriptors.into_iter().for_each(|file| take_in(file, &mut buffer));
        fdpass::send(&link, &[0], &[]).expect("send");
    }
}

/// The floor below the limit: one process that reads the same files.
pub fn read(tree: &Path) {
    let mut buffer = vec![0; BUFFER_BYTES];
    each_file(tree, &open, |file| take_in(file, &mut buffer));
}

fn take_in(file: OwnedFd, buffer: &mut [u8]) {
    let length = pread(&file, buffer, 0).expect("pread");
    std::hint::black_box(length);
}

fn each_file(tree: &Path, open: &Open<'_>, mut found: impl FnMut(OwnedFd)) {
    let mut waiting: Vec<PathBuf> = vec![tree.to_path_buf()];
    let mut room = Vec::with_capacity(32 * 1024);
    while let Some(path) = waiting.pop() {
        let directory = File::open(&path).expect("open");
        let mut entries = RawDir::new(&directory, room.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.expect("getdents64");
            let name = entry.file_name();
            match entry.file_type() {
                FileType::RegularFile => found(open(&directory, name)),
                FileType::Directory if !matches!(name.to_bytes(), b"." | b"..") => {
                    waiting.push(path.join(name.to_string_lossy().as_ref()));
                }
                _ => {}
            }
        }
    }
}
