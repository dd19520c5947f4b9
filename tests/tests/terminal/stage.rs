//! A broker, its user, and an fdscan on a terminal that is given its files one by one.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fdbroker_tests::terminal::On;
use fdbroker_tests::{Caller, Env, Program, Terminal, skip};

/// To the beginning of the line, and away with the rest.
pub const WIPE: &str = "\r\x1b[J";

/// A broker, and who uses it.
pub struct Stage {
    pub env: Env,
    pub caller: Caller,
}

impl Stage {
    pub fn new() -> Self {
        if skip::is_root() {
            Self { env: Env::start_spawned(), caller: Caller::user(2000) }
        } else {
            let caller = Caller::own();
            Self { env: Env::rootless(caller.uid), caller }
        }
    }

    /// `fdscan --no-summary`, to be completed.
    pub fn fdscan(&self) -> Program {
        self.env.fdscan_program(&self.caller).arg("--no-summary")
    }

    /// With a summary, on a terminal of 80 columns, and with its list still open.
    pub fn feed<'a>(&self, on: On, options: impl IntoIterator<Item = &'a str>) -> Feed {
        let fdscan = self.env.fdscan_program(&self.caller).args(options);
        Feed::start(|fdscan| Terminal::start(fdscan, on, 80), fdscan)
    }
}

/// A scan in the middle of which a test acts.
pub struct Feed {
    pub terminal: Terminal,
    list: Option<File>,
}

impl Feed {
    pub fn start(on: impl FnOnce(Program) -> Terminal, fdscan: Program) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let terminal = on(fdscan.args(["--files-from", "-"]).stdin(reader));
        Self { terminal, list: Some(File::from(OwnedFd::from(writer))) }
    }

    /// Names one more file.
    pub fn give(&mut self, path: &Path) {
        let line = [path.as_os_str().as_bytes(), b"\n"].concat();
        self.list.as_mut().unwrap().write_all(&line).unwrap();
    }

    /// Names one more file and waits until the line of progress has so many.
    #[track_caller]
    pub fn progress(&mut self, path: &Path, files: usize) {
        self.give(path);
        self.terminal.wait_for(&format!("{WIPE}{files} files, "));
    }

    /// Names no more files and waits for the exit status.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        self.list = None;
        self.terminal.finish().0.expect("no signal")
    }
}

/// What the line of progress said, each time it was drawn.
pub fn drawn(written: &str) -> Vec<&str> {
    let lines = written.split(WIPE).filter_map(|rest| rest.split_once('\r'));
    lines.map(|(line, _)| line).filter(|line| line.contains(" files, ")).collect()
}
