//! `fdbroker`: chooses the role and wires it up. Runs with the privilege that it was started with.

use std::process::ExitCode;

use clap::Parser;
use fdbroker_broker::root::{Broker, End, args::Args, config::Settings, launch, sanitize};
use fdbroker_broker::{dispatcher, log_to_stderr, opener, probe, rules};
use log::info;

/// What an administrator must mend before a new start.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    if let Err(error) = sanitize::surroundings() {
        eprintln!("fdbroker: {error}");
        return FAILED.into();
    }
    let mut args = std::env::args_os().skip(1);
    let role = args.next();
    let result = match role.as_deref().and_then(|role| role.to_str()) {
        Some(opener::ROLE) => opener::run().map_err(|error| format!("opener: {error}")),
        Some(dispatcher::ROLE) => dispatcher::run().map_err(|error| format!("dispatcher: {error}")),
        Some(rules::ROLE) => rules::run(args).map_err(|error| format!("rule reader: {error}")),
        Some(launch::ROLE) => match launch::run(args.filter_map(|arg| arg.into_string().ok())) {
            Ok(never) => match never {},
            Err(error) => Err(format!("launcher: {error}")),
        },
        Some(probe::ROLE) => return probe::run(args),
        _ => broker(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fdbroker: {message}");
            FAILED.into()
        }
    }
}

fn broker() -> Result<(), String> {
    let args = Args::parse();
    let private_on_stdin = args.private_on_stdin;
    let settings = Settings::new(args)?;
    log_to_stderr(settings.plan.log_level);
    let private = private_on_stdin.then(fdbroker_common::stdio::take_stdin).transpose();
    let private = private.map_err(|error| format!("standard input: {error}"))?;
    match Broker::start(settings, private)?.run() {
        Ok(End::Failed(reason)) => Err(reason),
        Ok(end) => {
            info!("ended: {end:?}");
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
