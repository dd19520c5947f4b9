//! The privileged side of fdbroker, and what it starts to be rid of privilege.
//!
//! | module | runs as | does |
//! |---|---|---|
//! | [`root`] | root (or the user whose own broker it is) | accepts, authorises, starts openers, hands connections over |
//! | [`dispatcher`] | a uid of its own, no capability, opens nothing | lends workers, looks after the scanner, answers administrators |
//! | [`opener`] | the caller | resolves, walks, opens, passes descriptors, reports |
//!
//! [`dispatch_link`] is the link between the first two; [`confine`] fences the last two. All code that
//! runs as uid 0 is in [`root`] (`make count-root-lines`).
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod confine;
pub mod dispatch_link;
pub mod dispatcher;
pub mod opener;
pub mod root;

/// Logs to standard error as `fdbroker[PID]: LEVEL: …`, from this level on as [`log::LevelFilter`]
/// numbers it. `role` stands before each message.
pub fn log_to_stderr(role: &'static str, level: u8) {
    use std::io::Write;

    let mut levels = log::LevelFilter::iter();
    env_logger::Builder::new()
        .filter_level(levels.nth(level.into()).unwrap_or(log::LevelFilter::Trace))
        .format(move |out, record| {
            let level = record.level().as_str().to_lowercase();
            writeln!(out, "fdbroker[{}]: {level}: {role}{}", std::process::id(), record.args())
        })
        .init();
}
