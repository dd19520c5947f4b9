//! The command line of `fdbroker`. Runs before anything is opened or dropped; clap lives here only.

use std::path::PathBuf;

use clap::Parser;

/// Privilege broker: opens files as whoever asks and passes the descriptors to a sealed scanner.
#[derive(Debug, Parser)]
#[command(name = "fdbroker", version)]
pub struct Args {
    /// Configuration file [default: /etc/fdbroker/fdbroker.toml if it exists and root starts it]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the sockets [default: /run/fdbroker as root, else $XDG_RUNTIME_DIR/fdbroker]
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// Directory of *.yar and *.yara rules [default: /etc/fdbroker/rules.d if it exists]
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// Load the rules again when their directory changes
    #[arg(long)]
    pub watch_rules: bool,
    /// User of the scanner, by name or number; only as root [default: nobody]
    #[arg(long, value_name = "NAME")]
    pub scanner_user: Option<String>,
    /// Start fdscand too, instead of waiting for one to connect
    #[arg(long)]
    pub spawn_scanner: bool,
    /// Workers that scan at once [default: what fdscand asks for, else one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(fdbroker_common::limits::WORKERS_MAX)))]
    pub workers: Option<u32>,
    /// Read the configuration as the broker would, say what is in force, and end
    #[arg(long)]
    pub check_config: bool,
    /// Say which rule decides on a user and an absolute path, for fdbrokerctl, and end
    #[arg(long, hide = true, num_args = 2, allow_hyphen_values = true)]
    pub explain: Vec<std::ffi::OsString>,
    /// Log more; repeat for still more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Serve the one connection on standard input, with a scanner of its own, then end
    #[arg(long, hide = true)]
    pub private_on_stdin: bool,
}
