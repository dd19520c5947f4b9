//! A played opener behind a real socket, and `fdscan` run against it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use fdbroker_common::channel::Channel;
use fdbroker_common::client_link::{
    ClientToOpener, OpenerToClient, Report, ScanOptions, Target as WireTarget,
};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::paths;
use fdbroker_common::totals::Totals;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

pub type Opener = Channel<OpenerToClient, ClientToOpener>;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of its own, removed when dropped.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fdscan-test-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file in it.
    pub fn file(&self, name: impl AsRef<OsStr>, content: &[u8]) -> PathBuf {
        let path = self.0.join(name.as_ref());
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an opener does with one connection.
pub type Script = Box<dyn FnOnce(Opener) + Send>;

/// A runtime directory in which somebody plays the opener, for one connection after the other.
pub struct Fake {
    pub dir: Dir,
    playing: JoinHandle<()>,
}

impl Fake {
    pub fn start(script: impl FnOnce(Opener) + Send + 'static) -> Self {
        Self::playing(vec![Box::new(script)])
    }

    /// Plays these, and then nobody listens any more.
    pub fn playing(scripts: Vec<Script>) -> Self {
        let dir = Dir::new();
        let address = SocketAddrUnix::new(dir.0.join(paths::CLIENT_SOCKET)).unwrap();
        let flags = SocketFlags::CLOEXEC;
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 1).unwrap();
        let playing = thread::spawn(move || {
            for script in scripts {
                let accepted = accept_with(&listener, flags).unwrap();
                script(Opener::adopt(accepted).unwrap());
            }
        });
        Self { dir, playing }
    }

    /// Serves scans and decides each target as told.
    pub fn deciding(
        decide: impl FnMut(&WireTarget, &OwnedFd) -> Vec<Report> + Send + 'static,
    ) -> Self {
        Self::start(move |opener| serve(opener, decide))
    }

    /// Runs fdscan against it and waits for both to end.
    pub fn scan(self, arguments: &[&str]) -> Output {
        self.scan_with(arguments, Stdio::null())
    }

    pub fn scan_with(self, arguments: &[&str], stdin: Stdio) -> Output {
        let output = fdscan()
            .arg("--runtime-dir")
            .arg(&self.dir.0)
            .args(arguments)
            .stdin(stdin)
            .output()
            .unwrap();
        self.playing.join().unwrap();
        output
    }
}

pub fn serve(mut opener: Opener, mut decide: impl FnMut(&WireTarget, &OwnedFd) -> Vec<Report>) {
    let mut totals = Totals::default();
    let mut options = ScanOptions::default();
    while let Ok((message, descriptors)) = opener.receive() {
        match message {
            ClientToOpener::Start(wanted) => {
                options = wanted;
                opener.send(&accepted(), &[]).unwrap();
            }
            ClientToOpener::Targets(targets) => {
                for (target, descriptor) in targets.iter().zip(&descriptors) {
                    let mut reports = decide(target, descriptor);
                    for report in &reports {
                        totals.add(&report.outcome, report.size);
                    }
                    reports
                        .retain(|report| !options.omit_clean || report.outcome != Outcome::Clean);
                    if !reports.is_empty() {
                        opener.send(&OpenerToClient::Reports(reports), &[]).unwrap();
                    }
                }
            }
            ClientToOpener::End => {
                let done = OpenerToClient::Done(std::mem::take(&mut totals));
                opener.send(&done, &[]).unwrap();
            }
            ClientToOpener::Waiting | ClientToOpener::PathTargets(_) => {}
        }
    }
}

pub fn accepted() -> OpenerToClient {
    OpenerToClient::Accepted { generation: GenerationId([0xab; 16]), rules: 3 }
}

pub fn report(target: &WireTarget, path: &[u8], outcome: Outcome) -> Report {
    Report { target: target.id, path: path.to_vec().into(), size: 10, outcome }
}

pub fn found(rules: &[&str]) -> Outcome {
    Outcome::Match { rules: rules.iter().map(|rule| (*rule).to_owned()).collect() }
}

/// `fdscan` that finds no broker but one that is named.
pub fn fdscan() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdscan"));
    command.env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
    command
}

/// Standard input with some bytes in a pipe.
pub fn piped(content: &[u8]) -> Stdio {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(content).unwrap();
    reader.into()
}

/// Standard input from a file.
pub fn opened(path: &Path) -> Stdio {
    File::open(path).unwrap().into()
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

pub fn status(output: &Output) -> Option<i32> {
    output.status.code()
}
