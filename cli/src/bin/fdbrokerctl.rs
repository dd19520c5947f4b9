//! `fdbrokerctl`: asks a broker how it is, makes it read its rules again, and tests it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = fdbroker_cli::ctl::args::Args::from_command_line();
    ExitCode::from(fdbroker_cli::ctl::run(&args))
}
