//! Limits of running processes, as another process of the same user can set them.

use std::path::Path;

use crate::{Caller, Program};

/// Sets how many descriptors a process of this user may have; its hard limit stays. Needs prlimit(1).
///
/// # Panics
/// When it cannot be set.
pub fn descriptors(caller: &Caller, pid: u32, limit: usize) {
    set(caller, pid, &format!("--nofile={limit}:"));
}

/// As [`descriptors`], but soft and hard, so that neither it nor its children can raise the limit.
///
/// # Panics
/// When it cannot be set.
pub fn descriptors_for_good(caller: &Caller, pid: u32, limit: usize) {
    set(caller, pid, &format!("--nofile={limit}:{limit}"));
}

fn set(caller: &Caller, pid: u32, limit: &str) {
    let tool = ["/usr/bin/prlimit", "/bin/prlimit"].map(Path::new);
    let tool = tool.into_iter().find(|path| path.is_file()).expect("prlimit");
    let program = Program::at(tool).caller(caller).args(["--pid", &pid.to_string()]);
    let output = program.arg(limit).output();
    assert_eq!(output.code, Some(0), "{output}");
}
