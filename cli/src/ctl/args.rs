//! The command line of `fdbrokerctl`. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Ask a broker how it is, make it read its rules again, and test it.
#[derive(Debug, Parser)]
#[command(
    name = "fdbrokerctl",
    version,
    max_term_width = 80,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 if all is well or allowed, 1 if not, 2 if there was no answer."
)]
pub struct Args {
    /// Runtime directory of the broker [default: /run/fdbroker, else
    /// $XDG_RUNTIME_DIR/fdbroker]
    #[arg(long, value_name = "DIR", global = true)]
    pub runtime_dir: Option<PathBuf>,

    /// Answer with one JSON object
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Show processes, rules, load, counts and the last errors
    Status {
        /// Show it again every so many seconds (1 to 3600), 2 if none are given
        #[arg(
            long,
            value_name = "SECONDS",
            num_args = 0..=1,
            default_missing_value = "2",
            value_parser = clap::value_parser!(u32).range(1..=3600)
        )]
        watch: Option<u32>,
    },
    /// Tell counts and states in the format of Prometheus
    Metrics {
        /// Replace FILE, as for the textfile collector of node_exporter
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check that the EICAR test file is found and another file judged; needs no
    /// privileges
    Ping {
        /// Give up after this time (1 to 3600)
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = 30,
            value_parser = clap::value_parser!(u32).range(1..=3600)
        )]
        timeout: u32,
    },
    /// Read the rules again; bad ones change nothing
    Reload,
    /// Check that scanning works, that the processes are confined, and that
    /// what they must not do fails
    SelfTest,
    /// Say whether and why a user may have a path scanned, without scanning
    Explain {
        /// Name or number of an account, or UID:GID,GROUP,...
        user: OsString,
        /// File or directory; need not exist
        path: PathBuf,
    },
}

impl Args {
    /// Reads the command line; ends the process after --help, --version (0) or a mistake (2).
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_before_or_after_the_verb() {
        for line in ["fdbrokerctl --json status", "fdbrokerctl status --json"] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert!(args.json && matches!(args.verb, Verb::Status { watch: None }), "{line}");
        }
        let args = Args::try_parse_from(["fdbrokerctl", "status", "--watch"]).unwrap();
        assert!(matches!(args.verb, Verb::Status { watch: Some(2) }));
        let args = Args::try_parse_from(["fdbrokerctl", "status", "--watch", "9"]).unwrap();
        assert!(matches!(args.verb, Verb::Status { watch: Some(9) }));
        let mistake = Args::try_parse_from(["fdbrokerctl"]).unwrap_err();
        assert_eq!(mistake.exit_code(), 2);
    }
}
