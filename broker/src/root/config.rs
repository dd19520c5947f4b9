//! Options and configuration file to [`Settings`].
//!
//! Runs as root before the first connection is accepted. The file is refused when somebody else
//! could have written it; an unknown key is an error.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fdbroker_common::limits::WORKERS_MAX;
use fdbroker_common::paths;
use nix::unistd::{Uid, User};
use serde::Deserialize;

use super::args::Args;
use crate::dispatch_link::Plan;

/// User ids for processes of ours that own no file: a range that neither distributions nor systemd
/// hand out (systemd.io/UIDS-GIDS).
const OWN_UIDS: std::ops::RangeInclusive<u32> = 65_520..=65_533;

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

/// Whose broker this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root's, for all users.
    System {
        /// User and group id of the scanner.
        scanner: (u32, u32),
        /// User id of the opener for callers who may read everything.
        reader_uid: u32,
        /// User id of the dispatcher.
        dispatcher_uid: u32,
    },
    /// One ordinary user's own.
    Personal {
        /// That user.
        uid: u32,
    },
}

/// Everything that was decided at start.
#[derive(Debug)]
pub struct Settings {
    /// Whose broker.
    pub mode: Mode,
    /// Directory of the sockets; none for a private broker.
    pub runtime_dir: Option<PathBuf>,
    /// Directory of the rules; none: the built-in rule alone.
    pub rules: Option<PathBuf>,
    /// Whether fdscand is started by us.
    pub spawn_scanner: bool,
    /// Workers that are lent at once; 0 leaves it to the scanner.
    pub workers: u32,
    /// Least level of log messages, as [`log::LevelFilter`] numbers it.
    pub log_level: u8,
}

impl Settings {
    /// Combines options, file and defaults.
    ///
    /// # Errors
    /// One line for the administrator: what is wrong and what to do.
    pub fn new(args: &Args) -> Result<Self, String> {
        let root = Uid::effective().is_root();
        let file = read_file(args.config.as_deref(), root)?;
        let scanner_user = args.scanner_user.clone().or(file.scanner_user);
        let mode = if root {
            let scanner = scanner_ids(scanner_user.as_deref().unwrap_or("nobody"))?;
            let reader_uid = free_uid(&[scanner.0])?;
            let dispatcher_uid = free_uid(&[scanner.0, reader_uid])?;
            Mode::System { scanner, reader_uid, dispatcher_uid }
        } else if scanner_user.is_some() {
            return Err(
                "--scanner-user needs root: an ordinary user's scanner runs as that user".into()
            );
        } else {
            Mode::Personal { uid: Uid::effective().as_raw() }
        };
        let workers = args.workers.or(file.workers).unwrap_or(0);
        if workers > WORKERS_MAX {
            return Err(format!("workers: at most {WORKERS_MAX}"));
        }
        let runtime_dir = match args.runtime_dir.clone().or(file.runtime_dir) {
            _ if args.private_on_stdin => None,
            Some(dir) => Some(dir),
            None => Some(default_runtime_dir(root)?),
        };
        Ok(Self {
            mode,
            runtime_dir,
            rules: rules_dir(args.rules.clone().or(file.rules))?,
            spawn_scanner: args.spawn_scanner || file.spawn_scanner || args.private_on_stdin,
            workers,
            log_level: args.log_level(),
        })
    }

    /// Whether this is root's broker, for all users.
    #[must_use]
    pub fn is_system(&self) -> bool {
        matches!(self.mode, Mode::System { .. })
    }

    /// What the dispatcher must know.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let (uid, scanner_uid, admin_uid) = match self.mode {
            Mode::System { scanner, dispatcher_uid, .. } => (Some(dispatcher_uid), scanner.0, 0),
            Mode::Personal { uid } => (None, uid, uid),
        };
        Plan {
            broker_pid: std::process::id(),
            uid,
            scanner_uid,
            admin_uid,
            starts_scanner: self.spawn_scanner,
            workers: self.workers,
            log_level: self.log_level,
        }
    }
}

fn read_file(asked: Option<&Path>, root: bool) -> Result<File, String> {
    let path = match asked {
        Some(path) => path,
        None if root && Path::new(paths::CONFIG_FILE).exists() => Path::new(paths::CONFIG_FILE),
        None => return Ok(File::default()),
    };
    let say = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let file = fs::File::open(path).map_err(|error| say(&error))?;
    let meta = file.metadata().map_err(|error| say(&error))?;
    if !meta.is_file() {
        return Err(say(&"not a regular file"));
    }
    let foreign = meta.uid() != 0 && meta.uid() != Uid::effective().as_raw();
    if foreign || meta.mode() & 0o022 != 0 {
        return Err(say(&"can be written by others; chown it to root and chmod go-w"));
    }
    let mut text = String::new();
    file.take(CONFIG_BYTES_MAX).read_to_string(&mut text).map_err(|error| say(&error))?;
    toml::from_str(&text).map_err(|error| say(&error.to_string().trim_end().replace('\n', " ")))
}

fn scanner_ids(name: &str) -> Result<(u32, u32), String> {
    let found = match name.parse::<u32>() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(name),
    };
    let user = found.ok().flatten().ok_or_else(|| {
        format!("no user {name:?}; create it or name another with --scanner-user")
    })?;
    if user.uid.is_root() || user.gid.as_raw() == 0 {
        return Err(
            "the scanner must not run as root; name another user with --scanner-user".into()
        );
    }
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

fn free_uid(taken: &[u32]) -> Result<u32, String> {
    let is_free =
        |uid: &u32| !taken.contains(uid) && matches!(User::from_uid(Uid::from_raw(*uid)), Ok(None));
    OWN_UIDS
        .rev()
        .find(is_free)
        .ok_or_else(|| "no free user id from 65520 to 65533; free one".into())
}

fn default_runtime_dir(root: bool) -> Result<PathBuf, String> {
    if root {
        return Ok(paths::RUNTIME_DIR.into());
    }
    // The only variable that is ever read, and never as root.
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(|dir| Path::new(&dir).join("fdbroker"))
        .ok_or_else(|| "XDG_RUNTIME_DIR is not set; name a directory with --runtime-dir".into())
}

fn rules_dir(asked: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    match asked {
        Some(dir) => match fs::metadata(&dir) {
            Ok(meta) if meta.is_dir() => Ok(Some(dir)),
            Ok(_) => Err(format!(
                "{}: not a directory; --rules takes a directory of *.yar files",
                dir.display()
            )),
            Err(error) => {
                Err(format!("{}: {error}; --rules takes a directory of *.yar files", dir.display()))
            }
        },
        None => Ok(Some(PathBuf::from(paths::RULES_DIR)).filter(|dir| dir.is_dir())),
    }
}
