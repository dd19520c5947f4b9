//! `fdbrokerctl` from its first to its last step.
//!
//! Runs as root or as the owner of a broker, `ping` as anybody. It reads the broker's answers and
//! what /proc tells everyone; it changes nothing itself but the file of `metrics --output`.

mod admin;
pub mod args;
mod explain;
mod metrics;
mod ping;
mod processes;
mod program;
mod self_test;
mod status;
mod time;
mod watch;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fdbroker_common::client::ClientError;
use fdbroker_common::paths;

use crate::broker::{BrokerError, default_runtime_dirs, is_inhabited};
use crate::output::{complain, name, plain};
use args::{Args, Verb};

/// Exit status when there is no answer.
const FAILED: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The admin socket cannot be reached.
    #[error("no broker at {}: {}; start one with `fdbroker`", name(path), plain(source))]
    NoBroker {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The admin socket is not for this user.
    #[error("only root, or the owner of the broker, may use {}", name(.0))]
    Denied(PathBuf),
    /// The broker went away, or answered another question.
    #[error("the broker gave no answer: {0}")]
    NoAnswer(String),
    /// The client socket cannot be reached.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The test scan failed.
    #[error(transparent)]
    Scan(#[from] ClientError),
    /// fdbroker cannot be started, or gives no answer.
    #[error("fdbroker does not explain it: {0}")]
    NoExplanation(String),
    /// The file of metrics cannot be written.
    #[error("cannot write {}: {}", name(path), plain(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody reads the answer.
    #[error("cannot write to standard output: {}", plain(.0))]
    Output(#[from] io::Error),
}

/// Does what the command line asks and returns the exit status.
#[must_use]
pub fn run(args: &Args) -> u8 {
    let dir = args.runtime_dir.clone().unwrap_or_else(default_dir);
    let mut out = io::stdout().lock();
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let done = match &args.verb {
        Verb::Status { watch: None } => status::run(&dir, args.json, &mut out),
        Verb::Status { watch: Some(every) } => {
            watch::run(&dir, seconds(*every), args.json, &mut out)
        }
        Verb::Metrics { output } => metrics::run(&dir, output.as_deref(), &mut out),
        Verb::Ping { timeout } => ping::run(&dir, seconds(*timeout), args.json, &mut out),
        Verb::Reload => admin::reload(&dir, args.json, &mut out),
        Verb::Explain { user, path } => explain::run(&dir, user, path, args.json, &mut out),
        Verb::SelfTest => self_test::run(&dir, args.json, &mut out),
    };
    let flushed = out.flush().map_err(CtlError::from);
    match done.and_then(|status| flushed.map(|()| status)) {
        Ok(status) => status,
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => FAILED,
        Err(error) => {
            complain(&format_args!("fdbrokerctl: {error}"));
            FAILED
        }
    }
}

/// The first runtime directory with a broker in it, else the system's.
fn default_dir() -> PathBuf {
    default_runtime_dirs()
        .find(|dir| is_inhabited(dir) || dir.join(paths::ADMIN_SOCKET).exists())
        .unwrap_or_else(|| Path::new(paths::RUNTIME_DIR).to_owned())
}
