//! `fdscan`: scans files and directories as the user who runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = fdbroker_cli::args::Args::from_command_line();
    ExitCode::from(fdbroker_cli::run::run(&args))
}
