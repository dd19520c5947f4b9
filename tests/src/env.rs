//! One broker with its scanner, in a directory of its own, for one test.
//!
//! Started as root, or rootless as an ordinary user. Whatever becomes of the test, everything that was
//! started is stopped; what remains after that fails the test.

mod asks;
mod builder;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fdbroker_common::paths;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::files::{self, Scratch};
use crate::program::executable;
use crate::{Caller, PATIENCE, Program, Running, poll_until, proc};
pub use builder::EnvBuilder;

/// How long processes may take to end once they are asked to.
const END_BOUND: Duration = Duration::from_secs(10);

/// One broker with its scanner.
#[derive(Debug)]
pub struct Env {
    builder: EnvBuilder,
    scratch: Scratch,
    runtime: PathBuf,
    rules: Option<PathBuf>,
    caller: Caller,
    broker: Option<Running>,
    scanner: Option<Running>,
}

impl Env {
    /// Choices first.
    pub fn build() -> EnvBuilder {
        EnvBuilder::default()
    }

    /// See [`EnvBuilder::start_spawned`].
    #[must_use]
    pub fn start_spawned() -> Self {
        Self::build().start_spawned()
    }

    /// See [`EnvBuilder::start_separate`].
    #[must_use]
    pub fn start_separate() -> Self {
        Self::build().start_separate()
    }

    /// See [`EnvBuilder::start_rootless`].
    #[must_use]
    pub fn rootless(uid: u32) -> Self {
        Self::build().start_rootless(uid)
    }

    /// A directory that all may enter, removed at the end.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The runtime directory.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The client socket.
    #[must_use]
    pub fn client_socket(&self) -> PathBuf {
        self.runtime.join(paths::CLIENT_SOCKET)
    }

    /// Writes a file below [`Env::dir`] that all may read, and returns its path.
    #[must_use]
    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.dir().join(name);
        files::write(&path, contents);
        path
    }

    /// Writes a rule file; it counts at the next start or reload.
    ///
    /// # Panics
    /// When the environment was built without rules.
    pub fn write_rule(&self, name: &str, text: &str) {
        let rules = self.rules.as_ref().expect("built with rules");
        files::write(&rules.join(name), text.as_bytes());
    }

    /// The directory of the rules.
    #[must_use]
    pub fn rules(&self) -> Option<&Path> {
        self.rules.as_deref()
    }

    /// Makes the executables reachable for all by path, as an installation does.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn install(&self) -> PathBuf {
        let bin = self.dir().join("bin");
        for name in ["fdbroker", "fdscand", "fdscan", "fdbrokerctl"] {
            let path = bin.join(name);
            if path.exists() {
                continue;
            }
            files::write(&bin.join(".keep"), b"");
            // A copy is written by a process of its own: a descriptor for writing that another thread's
            // child inherits for a moment would keep the file from being executed.
            let copied = Program::at(Path::new("/usr/bin/install"))
                .args(["-m", "755", "-T", "--"])
                .args([&executable(name), &path])
                .output();
            assert_eq!(copied.code, Some(0), "{copied}");
        }
        bin
    }

    /// Starts fdbroker; see [`Env::wait_serving`].
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_broker(&mut self) {
        assert!(self.broker.is_none(), "a broker runs already");
        let own = self.caller.uid == Caller::own().uid;
        let program = executable("fdbroker");
        // It looks for fdscand beside itself, where only some users may be, or may execute it.
        let in_place = own && is_executable_for_all(&program.with_file_name("fdscand"));
        let program = if in_place { program } else { self.install().join("fdbroker") };
        let rules = self.rules.iter().flat_map(|rules| [OsStr::new("--rules"), rules.as_os_str()]);
        let program = Program::at(&program)
            .caller(&self.caller)
            .arg("--runtime-dir")
            .arg(&self.runtime)
            .args(rules)
            .args(&self.builder.broker_args);
        self.broker = Some(program.spawn());
    }

    /// Starts fdscand as nobody, or as whoever runs the test if that is not root.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_scanner(&mut self) {
        assert!(self.scanner.is_none(), "a scanner runs already");
        let root = nix::unistd::geteuid().is_root();
        let caller = if root { Caller::nobody() } else { Caller::own() };
        let name = self.builder.scanner_program.as_deref().unwrap_or("fdscand");
        let mut program = Program::new(name).caller(&caller).arg("--runtime-dir");
        if let Some(bytes) = self.builder.scanner_data_max {
            program = program.variable("RUN_AS_DATA_MAX", bytes.to_string());
        }
        self.scanner = Some(program.arg(&self.runtime).args(&self.builder.scanner_args).spawn());
    }

    /// Waits until the client socket is listened on.
    ///
    /// # Panics
    /// When that does not come, or the broker ends.
    #[track_caller]
    pub fn wait_serving(&self) {
        let broker = self.broker();
        let serves = || {
            let served = proc::is_listening(&self.client_socket());
            (served || !proc::is_alive(broker.pid())).then_some(served)
        };
        let served = poll_until("client.sock", PATIENCE, serves);
        assert_eq!(served, Ok(true), "the broker does not serve:\n{}", self.log());
    }

    /// The broker.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    #[track_caller]
    pub fn broker(&self) -> &Running {
        self.broker.as_ref().expect("a broker")
    }

    /// Takes the broker out, so that the test sees to its end.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn take_broker(&mut self) -> Running {
        self.broker.take().expect("a broker")
    }

    /// Puts a broker back that was taken out.
    pub fn put_back(&mut self, broker: Running) {
        self.broker = Some(broker);
    }

    /// The fdscand that was started by hand.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    #[track_caller]
    pub fn scanner(&self) -> &Running {
        self.scanner.as_ref().expect("a scanner")
    }

    /// Takes fdscand out, so that the test sees to its end.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn take_scanner(&mut self) -> Running {
        self.scanner.take().expect("a scanner")
    }

    /// Stops everything; also done when it is dropped.
    ///
    /// # Panics
    /// When something does not end or is left behind.
    pub fn stop(self) {
        drop(self);
    }

    fn stop_all(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(problem) = poll_until("no zombies", END_BOUND, || self.no_zombies()) {
            problems.push(problem);
        }
        let stops_broker = self.broker.is_some();
        let mut groups = Vec::new();
        let started = [("fdbroker", &mut self.broker), ("fdscand", &mut self.scanner)];
        for (name, running) in started {
            let Some(running) = running else { continue };
            groups.push(running.pid());
            if running.ended_within(Duration::ZERO).is_some() {
                problems.push(format!("{name} has ended by itself"));
                continue;
            }
            running.signal(Signal::SIGTERM);
            match running.ended_within(END_BOUND) {
                Some(status) if status.success() => {}
                Some(status) => problems.push(format!("{name} did not end well: {status}")),
                None => problems.push(format!("{name} does not end")),
            }
            running.signal(Signal::SIGKILL);
        }
        problems.extend(groups.into_iter().filter_map(|group| empty_group(group).err()));
        if stops_broker {
            problems.extend(self.sockets().map(|path| format!("{} is left", path.display())));
        }
        problems
    }

    fn no_zombies(&self) -> Option<()> {
        let processes = self.processes();
        let is_child = |ppid| processes.iter().any(|other| other.pid == ppid);
        let zombies = processes.iter().filter(|entry| entry.state == 'Z' && is_child(entry.ppid));
        (zombies.count() == 0).then_some(())
    }

    fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        let paths = paths::SOCKETS.map(|socket| self.runtime.join(socket));
        paths.into_iter().filter(|path| path.symlink_metadata().is_ok())
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let problems = self.stop_all();
        if !problems.is_empty() || std::thread::panicking() {
            eprintln!("--- fdbroker\n{}---", self.log());
        }
        if !std::thread::panicking() {
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }
}

/// Whether the mode of a file lets all execute it; with umask 077 cargo builds files that do not.
fn is_executable_for_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o005 == 0o005)
}

/// Waits until no process of a group is left, and ends those that are.
///
/// # Errors
/// What was left.
pub fn empty_group(group: u32) -> Result<(), String> {
    // An orphan that has ended is its new parent's to collect, not ours.
    let left = || -> Vec<u32> {
        let living = proc::group(group).into_iter().filter(|entry| entry.state != 'Z');
        living.map(|entry| entry.pid).collect()
    };
    let gone = poll_until("no process is left", END_BOUND, || left().is_empty().then_some(()));
    gone.map_err(|problem| {
        let pids = left();
        let told = proc::describe(&pids);
        for pid in pids.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        format!("{problem}:\n{told}")
    })
}
