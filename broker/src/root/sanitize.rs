//! First act of every role of this executable: put the inherited surroundings in order.
//!
//! Runs with whatever privilege the process was started with, before it opens anything. The
//! environment is neither trusted nor passed on: each child gets an empty one, but for what the
//! configuration reader is to make of a service manager's.

use std::fs::{self, File};
use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Leaves it to the broker to act on the signals that a terminal or a service manager sends to all of
/// us at once.
///
/// # Errors
/// As sigprocmask(2).
pub fn ignore_requests_to_end() -> io::Result<()> {
    Ok(SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]).thread_block()?)
}

/// Beside the standard ones, the one that a service manager may have passed (sd_listen_fds(3)): the
/// configuration reader inherits it.
fn last_kept() -> i32 {
    2 + i32::from(std::env::var_os("LISTEN_FDS").is_some())
}

/// Closes what the configuration reader has inherited. If nothing was passed, /dev/null stands there.
pub fn forget_passed() {
    for number in 3..=last_kept() {
        let _ = nix::unistd::close(number);
    }
}

/// Opens missing standard descriptors, closes all others, sets the umask, forbids core dumps and
/// raises the limit of open files.
///
/// # Errors
/// When /proc is not mounted or /dev/null cannot be opened.
pub fn surroundings() -> io::Result<()> {
    // A closed 0, 1 or 2 would be handed to the next socket; open(2) fills the lowest gap.
    let last = last_kept();
    loop {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        if std::os::fd::AsRawFd::as_raw_fd(&null) > last {
            break;
        }
        std::mem::forget(null);
    }
    let inherited: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > last)
        .collect();
    for number in inherited {
        // The listing's own descriptor is among them and closed already: EBADF is expected.
        let _ = nix::unistd::close(number);
    }
    // Blocked signals are inherited, and the broker blocks those that it reads from a descriptor.
    SigSet::all().thread_unblock()?;
    umask(Mode::from_bits_truncate(0o077));
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A panic is a broken invariant of our own: end the process, do not unwind past it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("fdbroker: internal error: {panic}");
        std::process::abort();
    }));
    Ok(())
}
