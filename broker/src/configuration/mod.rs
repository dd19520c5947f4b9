//! Command line and configuration files to [`Settings`].
//!
//! Runs before the first connection is accepted: for root's broker in a process of its own, with a uid
//! of its own and `DAC_READ_SEARCH` alone, which can write nothing; for an ordinary user's in the broker
//! itself. Files that somebody else could have written are refused; an unknown key is an error.

pub mod args;
pub mod document;
mod explain;
pub mod interpreter;
pub mod lint;
pub mod policy;
pub mod problem;
pub mod scanner;
pub mod schema;
pub mod service_manager;
pub mod settle;
pub mod source;
pub mod summary;
pub mod trusted;
pub mod users;
pub mod value;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use clap::Parser;
use fdbroker_common::channel::Channel;
use fdbroker_common::limits::DESCRIPTORS_MIN;
use fdbroker_common::stdio::take_channel;
use fdbroker_common::wire::encode;
use landlock::{BitFlags, Scope};
use nix::unistd::Uid;
use rustix::process::{Resource, getrlimit};

use crate::root::settings::{BrokerToConfiguration, OWN_UIDS, Settings};
use crate::root::{fence, privilege, sanitize};
use args::Args;
use problem::Problem;
use service_manager::Given;

/// First argument that selects this role. Then follows the command line of the broker.
pub const ROLE: &str = "--configuration-reader";

/// Reads for a broker of root, tells it, and ends.
///
/// # Errors
/// Lines for the administrator, or when the identity cannot be taken or the broker has gone.
pub fn run() -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let mut link: Channel<Settings, BrokerToConfiguration> = take_channel().map_err(text)?;
    if !Uid::effective().is_root() {
        return Err("only a broker of root has its configuration read".into());
    }
    privilege::become_reader(*OWN_UIDS.end()).map_err(text)?;
    let given = Given::take(nix::unistd::getppid().as_raw().cast_unsigned())?;
    let scope = Scope::AbstractUnixSocket | Scope::Signal;
    fence::read_only(BitFlags::EMPTY, scope).and_then(fence::enforce).map_err(text)?;
    let name = OsString::from("fdbroker");
    let args = Args::parse_from(std::iter::once(name).chain(std::env::args_os().skip(2)));
    match decide(args, 0, given)? {
        // The broker is told nothing, and ends as we do.
        None => Ok(()),
        Some((settings, descriptors)) => {
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            link.send(&settings, &descriptors).map_err(|error| error.to_string())
        }
    }
}

/// Reads for a broker of an ordinary user, which is this process. The inner error is the status to end
/// with when that was all.
///
/// # Errors
/// Lines for the user.
pub fn own(uid: u32) -> Result<Result<(Settings, Vec<OwnedFd>), u8>, String> {
    let args = Args::parse();
    let given =
        if args.private_on_stdin { Ok(Given::default()) } else { Given::take(std::process::id()) };
    sanitize::forget_passed();
    Ok(decide(args, uid, given?)?.ok_or(0))
}

/// What a broker of this user starts with; none if the command line asks for something else.
fn decide(args: Args, uid: u32, given: Given) -> Result<Option<(Settings, Vec<OwnedFd>)>, String> {
    let told = |problems: &[Problem]| {
        problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\nfdbroker: ")
    };
    let sources =
        source::read_all(args.config.as_deref(), uid).map_err(|problems| told(&problems))?;
    let settled = settle::settle(&args, uid, &sources).map_err(|problems| told(&problems))?;
    if let [user, path] = args.explain.as_slice() {
        let mut bytes = Vec::new();
        encode(&explain::of(&settled, user, path)?, &mut bytes)
            .map_err(|error| error.to_string())?;
        return say(&bytes);
    }
    let check = args.check_config;
    // A private broker is silent.
    let speaks = check || settled.settings.plan.log_level > 0;
    for warning in settled.warnings.iter().filter(|_| speaks) {
        eprintln!("fdbroker: warning: {warning}");
    }
    if check {
        let summary = summary::of(&settled, &sources).map_err(|error| error.to_string())?;
        return say(summary.as_bytes());
    }
    complete(settled.settings, given).map(Some)
}

/// Adds what the broker cannot, or shall not, open itself.
fn complete(mut settings: Settings, mut given: Given) -> Result<(Settings, Vec<OwnedFd>), String> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if settings.runtime_dir.is_some() && files < DESCRIPTORS_MIN {
        return Err(format!(
            "the limit on open files is {files}, {DESCRIPTORS_MIN} are needed; raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        ));
    }
    let interpreter = interpreter::find().map_err(|error| format!("/proc/self/maps: {error}"))?;
    let executable = settings.plan.starts_scanner.then(scanner::find).transpose()?;
    let socket = given.client_socket(settings.runtime_dir.as_deref())?;
    settings.interpreted = interpreter.is_some();
    (settings.listens, settings.notifies) = (socket.is_some(), given.notify.is_some());
    let files = [interpreter, executable].map(|file| file.map(OwnedFd::from));
    let descriptors = files.into_iter().chain([socket, given.notify]);
    Ok((settings, descriptors.flatten().collect()))
}

/// The answer in place of a broker.
fn say<T>(answer: &[u8]) -> Result<Option<T>, String> {
    let written = io::stdout().write_all(answer);
    written.map(|()| None).map_err(|error| format!("standard output: {error}"))
}
