//! System calls of running processes, as strace(1) tells them: what a process really did.
//!
//! Needs root, because none of the processes of fdbroker can be traced by their own user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::{Program, Running};

/// An strace that is attached.
#[derive(Debug)]
pub struct Trace {
    strace: Running,
    file: PathBuf,
}

impl Trace {
    /// Attaches to processes, and to those that they fork if told so. `calls` as strace's `-e trace=`.
    /// Descriptors are told with what they stand for.
    ///
    /// # Panics
    /// When strace does not attach.
    #[must_use]
    pub fn attach(directory: &Path, pids: &[u32], forks: bool, calls: &str) -> Self {
        let file = directory.join(format!("trace-{}", pids.first().copied().unwrap_or(0)));
        let strace = ["/usr/bin/strace", "/bin/strace", "/usr/local/bin/strace"].map(Path::new);
        let strace = strace.into_iter().find(|path| path.is_file()).expect("strace");
        let pids: Vec<String> = pids.iter().map(|pid| format!("--attach={pid}")).collect();
        let strace = Program::at(strace)
            .args(forks.then_some("-f"))
            .args(["-v", "-yy", "-s", "0", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-o")
            .arg(&file)
            .args(&pids)
            .spawn();
        strace.wait_for_times("attached", pids.len());
        Self { strace, file }
    }

    /// Detaches and returns the lines: `PID call(...) = result` with forks, else without `PID`.
    ///
    /// # Panics
    /// When strace does not end, or its file cannot be read.
    #[must_use]
    pub fn finish(mut self) -> Vec<String> {
        self.strace.signal(Signal::SIGTERM);
        self.strace.ended_within(crate::PATIENCE).expect("strace ends");
        let text = std::fs::read(&self.file).expect("what strace wrote");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

/// Groups lines by the process id in front.
#[must_use]
pub fn by_process(lines: &[String]) -> BTreeMap<u32, Vec<&str>> {
    let mut processes: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in lines {
        if let Some((pid, call)) = line.split_once(' ')
            && let Ok(pid) = pid.parse()
        {
            processes.entry(pid).or_default().push(call.trim_start());
        }
    }
    processes
}
