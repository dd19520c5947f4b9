//! The launcher: a fresh process that is root for a few calls, becomes the scanner's user with no
//! capability, not even in its bounding set, and executes fdscand by descriptor.
//!
//! It never reads or opens anything: its arguments come from the broker, standard input is the
//! scanner link, standard output the executable.

use std::ffi::CStr;
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
pub fn run(mut args: impl Iterator<Item = String>) -> io::Result<std::convert::Infallible> {
    let mut id = || {
        args.next()
            .and_then(|arg| arg.parse::<u32>().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no user to become"))
    };
    let (uid, gid) = (id()?, id()?);
    let executable = io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    privilege::become_user(uid, gid, &[])?;
    let argv: [&CStr; 2] = [c"fdscand", c"--broker-on-stdin"];
    let environment: [&CStr; 0] = [];
    Ok(nix::unistd::execveat(executable, c"", &argv, &environment, AtFlags::AT_EMPTY_PATH)?)
}
