//! Limits of running processes, as another process of the same user can set them.

use std::path::Path;

use crate::{Caller, Program};

/// Sets how many descriptors a process of this user may have: for the time being, its hard limit stays.
/// Needs prlimit(1).
///
/// # Panics
/// When it cannot be set.
pub fn descriptors(caller: &Caller, pid: u32, limit: usize) {
    let tool = ["/usr/bin/prlimit", "/bin/prlimit"].map(Path::new);
    let tool = tool.into_iter().find(|path| path.is_file()).expect("prlimit");
    let program = Program::at(tool).caller(caller).args(["--pid", &pid.to_string()]);
    let output = program.arg(format!("--nofile={limit}:")).output();
    assert_eq!(output.code, Some(0), "{output}");
}
