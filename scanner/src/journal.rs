//! Log lines and last words, on standard error.
//!
//! Used by every role. A worker's standard error is a pipe of which its template reads a little once
//! the worker is dead, so a captured worker writes no log of ours. Nothing is read from the
//! environment, and no path prints a backtrace.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use env_logger::Builder;
use fdbroker_common::escape::Escaped;
use log::LevelFilter;

static ROLE: AtomicU8 = AtomicU8::new(0);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds the connection to the broker.
    Supervisor,
    /// Holds the rules of one generation.
    Template,
    /// Judges files.
    Worker,
}

impl Role {
    fn current() -> Self {
        match ROLE.load(Ordering::Relaxed) {
            0 => Self::Supervisor,
            1 => Self::Template,
            _ => Self::Worker,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Supervisor => "supervisor",
            Self::Template => "template",
            Self::Worker => "worker",
        })
    }
}

/// Changes who speaks from now on.
pub fn speak_as(role: Role) {
    ROLE.store(role as u8, Ordering::Relaxed);
}

/// Sets up the log and makes every panic end the process.
pub fn init(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    Builder::new()
        // The engine has a log of its own that is of no use to an administrator.
        .filter_module("fdbroker_scanner", level)
        .format(|out, record| match Role::current() {
            // The template adds the rest when it passes a worker's last words on.
            Role::Worker => writeln!(out, "{}", record.args()),
            role => {
                let time = out.timestamp();
                let level = record.level();
                writeln!(out, "{time} fdscand[{role}] {level}: {}", record.args())
            }
        })
        .init();
    abort_on_panic();
}

/// One line instead of a backtrace, which allocates and takes locks; then a core-less end, so that
/// no half-broken process goes on to say "clean".
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let reason = info.payload_as_str().unwrap_or("panic");
        let mut out = std::io::stderr().lock();
        let _ = match info.location() {
            Some(place) => writeln!(
                out,
                "fdscand[{}] panicked at {}:{}: {}",
                Role::current(),
                place.file(),
                place.line(),
                Escaped(reason.as_bytes())
            ),
            None => writeln!(out, "fdscand[{}] panicked", Role::current()),
        };
        std::process::abort();
    }));
}
