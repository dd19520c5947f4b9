//! The privileged side of fdbroker, and what it starts to be rid of privilege.
//!
//! | module | runs as | does |
//! |---|---|---|
//! | [`root`] | root (or the user whose own broker it is) | accepts, authorises, starts openers, hands connections over |
//! | [`configuration`] | a uid of its own with `DAC_READ_SEARCH` (or the user) | reads command line, configuration file and user database at start |
//! | [`dispatcher`] | a uid of its own, no capability, opens nothing | lends workers, looks after the scanner, answers administrators |
//! | [`auditor`] | a uid of its own with `SYS_PTRACE`, opens nothing | records who asked for what, and what came of it |
//! | [`rules`] | a uid of its own with `DAC_READ_SEARCH` | opens the administrator's rule files |
//! | [`opener`] | the caller | resolves, walks, opens, passes descriptors, reports |
//!
//! [`probe`] is no part of a broker: it tries what the fences forbid. [`dispatch_link`], [`reader_link`],
//! [`audit_link`] and [`record_link`] are links between them; [`confine`] fences dispatcher, rule reader, opener and auditor. All code that runs as uid 0 is in [`root`] (`make count-root-lines`).
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod audit_link;
pub mod auditor;
pub mod configuration;
pub mod confine;
pub mod dispatch_link;
pub mod dispatcher;
pub mod explain_walk;
pub mod opener;
pub mod probe;
pub mod reader_link;
pub mod record_link;
pub mod root;
pub mod rules;

/// Logs to standard error as `fdbroker[PID]: LEVEL: …`, from this level on as [`log::LevelFilter`]
/// numbers it.
pub fn log_to_stderr(level: u8) {
    use std::io::Write;

    let filter = log::LevelFilter::iter().nth(level.into()).unwrap_or(log::LevelFilter::Trace);
    let write = |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        let level = record.level().as_str().to_lowercase();
        writeln!(out, "fdbroker[{}]: {level}: {}", std::process::id(), record.args())
    };
    env_logger::Builder::new().filter_level(filter).format(write).init();
}
