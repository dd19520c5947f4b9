//! How a test starts an executable of the workspace as some user.
//!
//! `run-as`, the small program beside them, opens the executable while it is still root and executes
//! that descriptor, so a user can start what no path leads them to.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::running::Sink;
use crate::{Caller, Output, Running};

/// Where the executables are: the directory above that of the test's own.
///
/// # Panics
/// When the test's own cannot be found.
#[must_use]
pub fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own executable");
    let directory = own.parent().expect("a directory");
    let is_deps = directory.file_name() == Some(OsStr::new("deps"));
    if is_deps { directory.parent().unwrap_or(directory) } else { directory }.to_path_buf()
}

/// The path of an executable of the workspace.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn executable(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.is_file(), "{} is not there: run `make build` first", path.display());
    path
}

/// A program to be started.
#[derive(Debug)]
#[must_use]
pub struct Program {
    path: PathBuf,
    caller: Caller,
    arguments: Vec<OsString>,
    directory: PathBuf,
    variables: Vec<(OsString, OsString)>,
    stdin: Option<OwnedFd>,
}

impl Program {
    /// An executable of the workspace, as whoever runs the test.
    pub fn new(name: &str) -> Self {
        Self::at(&executable(name))
    }

    /// Any executable by its path.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            caller: Caller::own(),
            arguments: Vec::new(),
            directory: PathBuf::from("/"),
            variables: Vec::new(),
            stdin: None,
        }
    }

    /// As this user.
    pub fn caller(mut self, caller: &Caller) -> Self {
        self.caller = caller.clone();
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// In this working directory; / unless told.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.to_path_buf();
        self
    }

    /// With this in an environment that has nothing else but `PATH`.
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// With this as standard input; /dev/null unless told.
    pub fn stdin(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(descriptor.into());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(self) -> Running {
        let (out, stdout) = io::pipe().expect("pipe");
        let (err, stderr) = io::pipe().expect("pipe");
        let name = self.name();
        let mut command = self.command("exec");
        command.stdout(stdout).stderr(stderr).process_group(0);
        let child = command.spawn().expect("run-as starts");
        // The command keeps the writing ends of the pipes until it is dropped.
        drop(command);
        Running::new(name, child, Sink::collect(out), Sink::collect(err))
    }

    /// Starts it as leader of a session with this terminal as standard error, as standard output too if
    /// it is given once more, and as standard input if there is none.
    pub(crate) fn on_terminal(mut self, terminal: OwnedFd, stdout: Option<OwnedFd>) -> Running {
        let (out, pipe) = io::pipe().expect("pipe");
        let name = self.name();
        let stdin = terminal.try_clone().expect("a descriptor");
        self.stdin.get_or_insert(stdin);
        let mut command = self.variable("TERM", "xterm").command("terminal");
        command.stdout(stdout.map_or_else(|| Stdio::from(pipe), Stdio::from)).stderr(terminal);
        let child = command.spawn().expect("run-as starts");
        drop(command);
        Running::new(name, child, Sink::collect(out), Sink::collect(io::empty()))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn command(self, verb: &str) -> Command {
        let mut command = Command::new(executable("run-as"));
        command
            .arg(verb)
            .args(self.caller.arguments())
            .arg(&self.path)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.variables)
            .stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        command
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// As [`Program::spawn`] and [`Running::finish`].
    #[must_use]
    #[track_caller]
    pub fn output(self) -> Output {
        self.spawn().finish()
    }
}
