//! Command line and configuration file to [`Settings`].
//!
//! Runs before the first connection is accepted: for root's broker in a process of its own, with a uid
//! of its own and `DAC_READ_SEARCH` alone, which can write nothing; for an ordinary user's in the broker
//! itself. The file is refused when somebody else could have written it; an unknown key is an error.

pub mod args;
pub mod scanner;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Parser;
use fdbroker_common::channel::Channel;
use fdbroker_common::limits::WORKERS_MAX;
use fdbroker_common::paths;
use fdbroker_common::stdio::take_channel;
use landlock::Scope;
use nix::unistd::{Uid, User};
use serde::Deserialize;

use crate::dispatch_link::Plan;
use crate::root::policy::Policy;
use crate::root::settings::{BrokerToConfiguration, Mode, OWN_UIDS, Settings};
use crate::root::{fence, privilege};
use args::Args;

/// First argument that selects this role. Then follows the command line of the broker.
pub const ROLE: &str = "--configuration-reader";

/// Largest configuration file.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of the configuration file; each has an option of the same name, which wins.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    runtime_dir: Option<PathBuf>,
    rules: Option<PathBuf>,
    scanner_user: Option<String>,
    #[serde(default)]
    spawn_scanner: bool,
    workers: Option<u32>,
}

/// Reads for a broker of root, tells it, and ends.
///
/// # Errors
/// One line for the administrator, or when the identity cannot be taken or the broker has gone.
pub fn run() -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let mut link: Channel<Settings, BrokerToConfiguration> = take_channel().map_err(text)?;
    if !Uid::effective().is_root() {
        return Err("only a broker of root has its configuration read".into());
    }
    privilege::become_reader(*OWN_UIDS.end()).map_err(text)?;
    let scope = Scope::AbstractUnixSocket | Scope::Signal;
    fence::read_only(scope).and_then(fence::enforce).map_err(text)?;
    let name = OsString::from("fdbroker");
    let args = Args::parse_from(std::iter::once(name).chain(std::env::args_os().skip(2)));
    let settings = settle(args, 0)?;
    let executable = settings.plan.starts_scanner.then(scanner::find).transpose()?;
    let executable: Vec<_> = executable.iter().map(AsFd::as_fd).collect();
    link.send(&settings, &executable).map_err(|error| error.to_string())
}

/// Combines options, file and defaults, for a broker of this user.
///
/// # Errors
/// One line for the administrator: what is wrong and what to do.
pub fn settle(args: Args, uid: u32) -> Result<Settings, String> {
    let uid = Uid::from_raw(uid);
    let file = read_file(args.config.as_deref(), uid)?;
    let scanner_user = args.scanner_user.or(file.scanner_user);
    let (mode, dispatcher) = match scanner_user {
        _ if uid.is_root() => {
            let scanner = scanner_ids(scanner_user.as_deref().unwrap_or("nobody"))?;
            let is_free = |uid: &u32| {
                *uid != scanner.0 && matches!(User::from_uid(Uid::from_raw(*uid)), Ok(None))
            };
            let mut free = OWN_UIDS.rev().filter(is_free);
            let (Some(reader_uid), Some(dispatcher)) = (free.next(), free.next()) else {
                return Err("no two free user ids from 65520 to 65531; free some".into());
            };
            (Mode::System { scanner, reader_uid }, Some(dispatcher))
        }
        Some(_) => return Err("--scanner-user needs root".into()),
        None => (Mode::Personal { uid: uid.as_raw() }, None),
    };
    let runtime_dir = match args.runtime_dir.or(file.runtime_dir) {
        _ if args.private_on_stdin => None,
        Some(dir) => Some(dir),
        None if uid.is_root() => Some(paths::RUNTIME_DIR.into()),
        // The only variable that is ever read, and never as root.
        None => std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("fdbroker")),
    };
    if runtime_dir.is_none() && !args.private_on_stdin {
        return Err("XDG_RUNTIME_DIR is not set; name a directory with --runtime-dir".into());
    }
    let plan = Plan {
        broker_pid: std::process::id(),
        uid: dispatcher,
        scanner_uid: match mode {
            Mode::System { scanner, .. } => scanner.0,
            Mode::Personal { uid } => uid,
        },
        admin_uid: uid.as_raw(),
        starts_scanner: args.spawn_scanner || file.spawn_scanner || args.private_on_stdin,
        workers: args.workers.or(file.workers).unwrap_or(0).min(WORKERS_MAX),
        // A private broker is silent.
        log_level: if args.private_on_stdin { 0 } else { args.verbose.saturating_add(3).min(5) },
    };
    let rules = rules_dir(args.rules.or(file.rules))?;
    let (runtime_dir, rules) = (runtime_dir.map(Into::into), rules.map(Into::into));
    Ok(Settings { mode, runtime_dir, rules, plan, policy: Policy::default() })
}

fn read_file(asked: Option<&Path>, user: Uid) -> Result<File, String> {
    let default = Path::new(paths::CONFIG_FILE);
    let Some(path) = asked.or((user.is_root() && default.exists()).then_some(default)) else {
        return Ok(File::default());
    };
    let read = || {
        let file = fs::File::open(path)?;
        let meta = file.metadata()?;
        if ![0, user.as_raw()].contains(&meta.uid()) || meta.mode() & 0o022 != 0 {
            let reason = "can be written by others; chown it to root and chmod go-w";
            return Err(std::io::Error::other(reason));
        }
        let mut text = String::new();
        file.take(CONFIG_BYTES_MAX).read_to_string(&mut text)?;
        toml::from_str(&text).map_err(|error| {
            std::io::Error::other(error.to_string().trim_end().replace(char::is_control, " "))
        })
    };
    read().map_err(|error| format!("{}: {error}", path.display()))
}

fn scanner_ids(name: &str) -> Result<(u32, u32), String> {
    let by_number = |uid| User::from_uid(Uid::from_raw(uid));
    match name.parse::<u32>().map_or_else(|_| User::from_name(name), by_number) {
        Ok(Some(user)) if user.uid.is_root() || user.gid.as_raw() == 0 => {
            Err("the scanner must not run as root; name another user with --scanner-user".into())
        }
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        _ => Err(format!("no user {name:?}; create it or name another with --scanner-user")),
    }
}

fn rules_dir(asked: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    let Some(dir) = asked else {
        return Ok(Some(PathBuf::from(paths::RULES_DIR)).filter(|dir| dir.is_dir()));
    };
    let reason = match fs::metadata(&dir) {
        Ok(meta) if meta.is_dir() => return Ok(Some(dir)),
        Ok(_) => "not a directory".into(),
        Err(error) => error.to_string(),
    };
    let dir = dir.display().to_string().replace(char::is_control, "?");
    Err(format!("{dir}: {reason}; --rules takes a directory of *.yar files"))
}
