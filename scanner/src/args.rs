//! Command line of `fdscand`.
//!
//! Parsed once by every role, before it holds anything worth taking. Nothing is read from the
//! environment.

use std::path::PathBuf;

use clap::{ArgAction, Parser};
use fdbroker_common::limits::WORKERS_MAX;
use fdbroker_common::paths;

/// Malware scanner of fdbroker. Reads descriptors that the broker passes, and opens no file itself.
#[derive(Debug, Parser)]
#[command(name = "fdscand", version)]
pub struct Args {
    /// Directory with the broker's socket.
    #[arg(long, value_name = "DIR", default_value = paths::RUNTIME_DIR)]
    pub runtime_dir: PathBuf,

    /// Workers at most; 0 leaves it to the broker.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(WORKERS_MAX)))]
    pub workers: u32,

    /// Say more; twice for everything.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// The connection to the broker stands on standard input.
    #[arg(long, hide = true)]
    pub broker_on_stdin: bool,

    /// Be a template of this parent; its link stands on standard input.
    #[arg(long, hide = true, value_name = "PID", conflicts_with = "broker_on_stdin")]
    pub template: Option<u32>,
}
