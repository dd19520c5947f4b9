//! The launcher: a fresh process that is root for a few calls, becomes the scanner's user with no
//! capability, not even in its bounding set, and executes fdscand by descriptor.
//!
//! It never reads or opens anything: its arguments come from the broker, standard input is the
//! scanner link, standard output the executable.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::AsFd;

use nix::fcntl::AtFlags;

use super::privilege;

/// First argument that selects this role.
pub const ROLE: &str = "--launcher";

/// Becomes the user and executes; returns only on failure.
///
/// # Errors
/// When the identity cannot be changed or fdscand cannot be executed.
pub fn run(args: impl Iterator<Item = OsString>) -> io::Result<()> {
    let executable = io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    let ids: Vec<u32> = args.filter_map(|id| id.to_str()?.parse().ok()).collect();
    match ids.as_slice() {
        [uid, gid] => privilege::become_user(*uid, *gid, &[])?,
        _ if nix::unistd::geteuid().is_root() => {
            return Err(io::Error::other("the scanner never runs as root"));
        }
        _ => privilege::clear_capabilities()?,
    }
    let argv: [&CStr; 2] = [c"fdscand", c"--broker-on-stdin"];
    let environment: [&CStr; 0] = [];
    match nix::unistd::execveat(executable, c"", &argv, &environment, AtFlags::AT_EMPTY_PATH)? {}
}
