//! Whole-system test harness: the real executables, as real users, in a runtime directory of their own.
//!
//! Runs as root in the tests of `tests/tests/`; a test that cannot have root skips and says so. Each
//! [`Env`] is independent of every other one, so tests run in parallel, and none of them needs an
//! installed fdbroker or a line in /etc/passwd. Nothing is left behind: dropping an [`Env`] stops what
//! it started and fails the test if a process or a socket remains.
//!
//! ```no_run
//! use fdbroker_tests::{Caller, Env, files::EICAR};
//!
//! let env = Env::start_spawned();
//! let path = env.file("tree/eicar", EICAR);
//! let output = env.fdscan(&Caller::user(2000), [&path]);
//! assert_eq!(output.code, Some(1));
//! ```
#![forbid(unsafe_code)]

pub mod caller;
pub mod connection;
pub mod env;
pub mod feed;
pub mod files;
pub mod fuse;
pub mod limit;
pub mod proc;
pub mod program;
pub mod running;
pub mod skip;
pub mod soak;
pub mod terminal;
pub mod trace;
pub mod watch;

use std::thread;
use std::time::{Duration, Instant};

pub use caller::Caller;
pub use connection::{Connection, Crowd, InFlight};
pub use env::{Env, EnvBuilder};
pub use feed::Feed;
pub use fuse::Fuse;
pub use program::Program;
pub use running::{Output, Running};
pub use terminal::Terminal;
pub use trace::Trace;
pub use watch::Watch;

/// Far beyond what anything here needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something that sends no event is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `probe` has something, for what sends no event that could be waited for.
///
/// # Errors
/// `what`, when it does not come within the bound.
pub fn poll_until<T>(
    what: &str,
    bound: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if begun.elapsed() >= bound {
            return Err(format!("not within {bound:?}: {what}"));
        }
        thread::sleep(LOOK);
    }
}

/// As [`poll_until`], for a test.
///
/// # Panics
/// When it does not come within [`PATIENCE`].
pub fn wait_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_until(what, PATIENCE, probe).unwrap_or_else(|error| panic!("{error}"))
}

/// How long a test that goes on for a while does so: `FDBROKER_TEST_SECONDS`, else this many.
#[must_use]
pub fn duration(seconds: u64) -> Duration {
    let told = std::env::var("FDBROKER_TEST_SECONDS").ok().and_then(|told| told.parse().ok());
    Duration::from_secs(told.unwrap_or(seconds))
}
