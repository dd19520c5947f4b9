//! Runs examples as one user in a directory of their own, and reads what they say.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::unistd::{User, geteuid};

use crate::executable::{for_anybody, program};
use crate::page::workspace;
use crate::scratch::Scratch;

/// Far beyond what any example needs on a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Held while a child is between fork and exec, or while an executable is open for writing: a child
/// that briefly inherits such a descriptor would make exec fail with ETXTBSY.
pub static SPAWNING: Mutex<()> = Mutex::new(());

/// Directories and identity for some runs.
pub struct Stage {
    scratch: Scratch,
    user: Option<User>,
}

impl Stage {
    /// For the user who runs the test.
    pub fn own() -> Self {
        Self::new(None)
    }

    /// For somebody who is not root: nobody if the test is run by root.
    pub fn ordinary() -> Self {
        let root = geteuid().is_root();
        Self::new(root.then(|| User::from_name("nobody").unwrap().unwrap()))
    }

    fn new(user: Option<User>) -> Self {
        let scratch = Scratch::new().unwrap();
        let stage = Self { scratch, user };
        fs::create_dir(stage.work()).unwrap();
        fs::create_dir(stage.temporary()).unwrap();
        if let Some(user) = &stage.user {
            let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            for path in [stage.scratch.path(), &stage.work(), &stage.temporary()] {
                chown(path, uid, gid).unwrap();
            }
        }
        stage
    }

    /// Where the examples run.
    pub fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// Their `TMPDIR`.
    fn temporary(&self) -> PathBuf {
        self.scratch.path().join("tmp")
    }

    /// Starts the executable that cargo has built for an example.
    pub fn start(&self, example: &str, arguments: &[&str]) -> Running {
        self.start_file(&built(example), arguments)
    }

    /// Starts any executable.
    pub fn start_file(&self, path: &Path, arguments: &[&str]) -> Running {
        let executable = for_anybody(path).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let mut command = match self.user {
            None => Command::new(path),
            Some(_) => Command::new(program(&executable)),
        };
        command
            .arg0(path.file_name().unwrap())
            .args(arguments)
            .current_dir(self.work())
            .env("TMPDIR", self.temporary())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer);
        if let Some(user) = &self.user {
            command.gid(user.gid.as_raw()).uid(user.uid.as_raw());
        }
        let child = {
            let _alone = SPAWNING.lock().unwrap();
            command.spawn().unwrap()
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                // The test may have failed and gone.
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// Asserts that nothing was left behind.
    pub fn assert_empty(&self) {
        for directory in [self.work(), self.temporary()] {
            let left: Vec<_> = fs::read_dir(directory).unwrap().collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// Where cargo puts the example: beside the directory of this test's executable.
///
/// `cargo test` builds examples, but with `--test` or `--tests` it leaves them as they are.
pub fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let executable = profile.join("examples").join(example);
    let sources = workspace().join("tests/examples");
    let changed = [format!("{example}.rs"), format!("{example}/main.rs")]
        .iter()
        .find_map(|name| fs::metadata(sources.join(name)).ok()?.modified().ok());
    let built = fs::metadata(&executable).and_then(|found| found.modified()).ok();
    assert!(built >= changed, "{example} is not built: cargo build -p fdbroker-tests --examples");
    executable
}

/// A started example. Killed when dropped before its end.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// The next line of output, None at its end.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("silent for {SILENCE_MAX:?}"),
        }
    }

    /// The remaining lines and the exit status.
    pub fn finish(mut self) -> (Vec<String>, ExitStatus) {
        let lines = std::iter::from_fn(|| self.line()).collect();
        (lines, self.child.wait().unwrap())
    }

    /// Ends it without giving it a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
