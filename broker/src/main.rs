//! `fdbroker`: chooses the role and wires it up. Runs with the privilege that it was started with.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use fdbroker_broker::configuration;
use fdbroker_broker::root::{
    Broker, End, launch, sanitize,
    settings::{FAILED, Settings},
};
use fdbroker_broker::{auditor, dispatcher, explain_walk, log_to_stderr, opener, probe, rules};
use log::info;

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
        Some(auditor::ROLE) => auditor::run().map_err(|error| format!("auditor: {error}")),
        Some(rules::ROLE) => rules::run(args).map_err(|error| format!("rule reader: {error}")),
        Some(launch::ROLE) => launch::run(args).map_err(|error| format!("launcher: {error}")),
        Some(configuration::ROLE) => configuration::run(),
        Some(explain_walk::ROLE) => explain_walk::run(args),
        Some(probe::ROLE) => return probe::run(args),
        _ => match settings() {
            Ok(Ok((settings, descriptors))) => broker(settings, descriptors),
            // The reader has told the rest.
            Ok(Err(status)) => return status.into(),
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fdbroker: {message}");
            FAILED.into()
        }
    }
}

fn settings() -> Result<Result<(Settings, Vec<OwnedFd>), u8>, String> {
    let user = nix::unistd::geteuid();
    if user.is_root() {
        return Settings::obtain();
    }
    configuration::own(user.as_raw())
}

fn broker(settings: Settings, descriptors: Vec<OwnedFd>) -> Result<(), String> {
    log_to_stderr(settings.plan.log_level);
    let private = settings.runtime_dir.is_none().then(fdbroker_common::stdio::take_stdin);
    let private = private.transpose().map_err(|error| format!("standard input: {error}"))?;
    match Broker::start(settings, descriptors, private)?.run() {
        Ok(End::Failed(reason)) => Err(reason),
        Ok(end) => {
            info!("ended: {end:?}");
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
