//! `make soak`: everything at once, for `SOAK_SECONDS`, with the choices of `SOAK_SEED`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fdbroker_tests::skip;
use fdbroker_tests::soak::{Plan, run};

const SECONDS: u64 = 1800;

fn number(name: &str) -> Result<Option<u64>, String> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|error| format!("{name}: {error}")),
        Err(_) => Ok(None),
    }
}

fn soak() -> Result<(), String> {
    if !skip::is_root() {
        return Err("needs root".to_owned());
    }
    let seconds = number("SOAK_SECONDS")?.unwrap_or(SECONDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("SOAK_SEED")?.unwrap_or(now.as_secs());
    println!("soak: {seconds} s, SOAK_SEED={seed}");
    let report = run(&Plan::new(Duration::from_secs(seconds), seed))?;
    print!("{report}");
    Ok(())
}

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("soak: {reason}");
            ExitCode::FAILURE
        }
    }
}
