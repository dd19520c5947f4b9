//! How every example ends: nothing to say and 0, or one line on standard error and 1.

use std::error::Error;
use std::process::ExitCode;

/// Any failure; the examples only ever show it.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Turns the result of an example into its exit status.
pub fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_BIN_NAME"));
            ExitCode::FAILURE
        }
    }
}
