//! Options, files and defaults to [`Settings`]; an option wins over a file.
//!
//! Runs in the configuration reader, or in an ordinary user's own broker. Opens nothing but what tells
//! whether directories and users exist.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_common::limits::{MESSAGE_BYTES_MAX, WORKERS_MAX};
use fdbroker_common::paths;
use fdbroker_common::wire::{WireError, encode};
use nix::unistd::{Uid, User};

use super::args::Args;
use super::document::{self, Document, Findings, Table};
use super::lint;
use super::policy::{self, Written};
use super::problem::Problem;
use super::source::{Source, shown};
use super::users;
use crate::auditor::plan::{AuditFiles, AuditFormat, AuditPlan, AuditTo};
use crate::dispatch_link::Plan;
use crate::root::settings::{Mode, OWN_UIDS, Settings};

/// `sun_path` without the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What a broker starts with, and what is to be said about it.
#[derive(Debug)]
pub struct Settled {
    /// For the broker.
    pub settings: Settings,
    /// What is recorded, which the settings have encoded.
    pub audit: AuditPlan,
    /// Where the parts of its policy were written.
    pub written: Written,
    /// For the administrator.
    pub warnings: Vec<Problem>,
}

/// Decides for a broker of this user.
///
/// # Errors
/// All mistakes: what is wrong, where, and what to do.
pub fn settle(args: &Args, uid: u32, sources: &[Source]) -> Result<Settled, Vec<Problem>> {
    let uid = Uid::from_raw(uid);
    let mut findings = Findings::default();
    let document = document::read(sources, &mut findings);
    let mut written = policy::of(&document, &mut findings);
    if !uid.is_root() {
        without_root(args, &document, &mut findings);
    }
    let identities = identities(args, &document, uid, &mut findings);
    let runtime_dir = runtime_dir(args, &document, uid, &mut findings)
        .filter(|dir| fits_sockets(dir, &mut findings));
    let rules = rules(args, &document, &mut findings);
    let (Some((mode, dispatcher, auditor)), true) = (identities, findings.problems.is_empty())
    else {
        return Err(findings.problems);
    };
    let warnings = lint::of(&written.policy, &written, runtime_dir.as_deref());
    findings.notes.extend(warnings);
    let top = document.single("");
    let flag = |key| top.and_then(|top| top.flag(key)).unwrap_or(false);
    let workers = top.and_then(|top| u32::try_from(top.number("workers")?).ok());
    let plan = Plan {
        broker_pid: std::process::id(),
        uid: dispatcher,
        scanner_uid: match mode {
            Mode::System { scanner, .. } => scanner.0,
            Mode::Personal { uid } => uid,
        },
        admin_uid: uid.as_raw(),
        starts_scanner: args.spawn_scanner || flag("spawn_scanner") || args.private_on_stdin,
        watch_rules: args.watch_rules || flag("watch_rules"),
        workers: args.workers.or(workers).unwrap_or(0).min(WORKERS_MAX),
        // A private broker is silent.
        log_level: if args.private_on_stdin { 0 } else { args.verbose.saturating_add(3).min(5) },
    };
    let audit = audit(document.single("audit"), mode, args.private_on_stdin);
    let general = |error: WireError| vec![Problem::general(format_args!("[audit]: {error}"))];
    let settings = Settings {
        mode,
        runtime_dir: runtime_dir.map(Into::into),
        rules: rules.map(Into::into),
        plan,
        policy: std::mem::take(&mut written.policy),
        auditor,
        audit: audit.encoded().map_err(general)?,
        // Until it is known.
        interpreted: false,
        listens: false,
        notifies: false,
    };
    match encode(&settings, &mut Vec::new()) {
        Ok(()) => Ok(Settled { settings, audit, written, warnings: findings.notes }),
        Err(WireError::TooLarge) => Err(vec![Problem::general(format_args!(
            "grants, denials and limits together take more than {MESSAGE_BYTES_MAX} bytes; use groups in place of users, or fewer trees"
        ))]),
        Err(error) => Err(vec![Problem::general(error)]),
    }
}

/// What only root's broker can do.
fn without_root(args: &Args, document: &Document, findings: &mut Findings) {
    let mut say = |problem| match args.check_config {
        // An administrator may check as somebody else what root's broker will read.
        true => findings.notes.push(problem),
        false => findings.problems.push(problem),
    };
    for section in ["grant", "deny", "limit"] {
        if let Some(table) = document.repeated(section).first() {
            let text = format!("[[{section}]] needs a broker that root starts");
            say(Problem::at(table.place.as_ref(), text));
        }
    }
    let top = document.single("").filter(|top| top.text("scanner_user").is_some());
    if let Some(top) = top {
        let text = "`scanner_user` needs a broker that root starts";
        say(Problem::at(top.place("scanner_user"), text));
    }
    if args.scanner_user.is_some() {
        findings.problems.push(Problem::general("--scanner-user needs root"));
    }
}

/// Whose broker it is, and the uids of its dispatcher and its auditor.
fn identities(
    args: &Args,
    document: &Document,
    uid: Uid,
    findings: &mut Findings,
) -> Option<(Mode, Option<u32>, Option<u32>)> {
    if !uid.is_root() {
        return Some((Mode::Personal { uid: uid.as_raw() }, None, None));
    }
    let top = document.single("");
    let written = top.and_then(|top| top.text("scanner_user"));
    let name = args.scanner_user.as_deref().or(written).unwrap_or("nobody");
    let place = top.filter(|_| args.scanner_user.is_none() && written.is_some());
    let place = place.and_then(|top| top.place("scanner_user"));
    let scanner = match users::scanner(name) {
        Ok(scanner) => scanner,
        Err(reason) => {
            findings.problems.push(Problem::at(place, reason));
            return None;
        }
    };
    let is_free =
        |uid: &u32| *uid != scanner.0 && matches!(User::from_uid(Uid::from_raw(*uid)), Ok(None));
    let mut free = OWN_UIDS.rev().filter(is_free);
    let mut next = || free.next();
    let (Some(reader_uid), Some(dispatcher), Some(granted_uid), Some(auditor)) =
        (next(), next(), next(), next())
    else {
        let text = "no four free user ids from 65520 to 65531; free some";
        findings.problems.push(Problem::general(text));
        return None;
    };
    Some((Mode::System { scanner, reader_uid, granted_uid }, Some(dispatcher), Some(auditor)))
}

fn runtime_dir(
    args: &Args,
    document: &Document,
    uid: Uid,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let written = document.single("").and_then(|top| top.text("runtime_dir"));
    match args.runtime_dir.clone().or_else(|| written.map(PathBuf::from)) {
        _ if args.private_on_stdin => None,
        Some(dir) => Some(dir),
        None if uid.is_root() => Some(paths::RUNTIME_DIR.into()),
        // The only variable that is ever read, and never as root.
        None => match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) => Some(Path::new(&dir).join("fdbroker")),
            None => {
                let text = "XDG_RUNTIME_DIR is not set; name a directory with --runtime-dir";
                findings.problems.push(Problem::general(text));
                None
            }
        },
    }
}

/// Whether names of sockets in a directory are short enough for the kernel (unix(7)).
fn fits_sockets(dir: &Path, findings: &mut Findings) -> bool {
    let longest = paths::SOCKETS.iter().map(|name| dir.join(name).as_os_str().len()).max();
    let fits = longest.is_none_or(|bytes| bytes <= SOCKET_PATH_BYTES_MAX);
    if !fits {
        let text = format!(
            "{}: too long for a socket ({SOCKET_PATH_BYTES_MAX} bytes); choose another --runtime-dir",
            shown(dir)
        );
        findings.problems.push(Problem::general(text));
    }
    fits
}

fn rules(args: &Args, document: &Document, findings: &mut Findings) -> Option<PathBuf> {
    let top = document.single("");
    let written = top.and_then(|top| top.text("rules"));
    let Some(dir) = args.rules.clone().or_else(|| written.map(PathBuf::from)) else {
        return Some(PathBuf::from(paths::RULES_DIR)).filter(|dir| dir.is_dir());
    };
    let (place, what) = match args.rules {
        Some(_) => (None, "--rules"),
        None => (top.and_then(|top| top.place("rules")), "`rules`"),
    };
    let reason = match fs::metadata(&dir) {
        Ok(meta) if meta.is_dir() => return Some(dir),
        Ok(_) => "not a directory".into(),
        Err(error) => error.to_string(),
    };
    let text = format!("{}: {reason}; {what} takes a directory of *.yar files", shown(&dir));
    findings.problems.push(Problem::at(place, text));
    None
}

/// What is recorded. An ordinary user's broker records nothing unless that is asked for, a private one
/// never.
fn audit(table: Option<&Table>, mode: Mode, private: bool) -> AuditPlan {
    let word = |key| table.and_then(|table| table.text(key));
    AuditPlan {
        to: match (word("to"), mode) {
            _ if private => AuditTo::Off,
            (None | Some("auto"), Mode::Personal { .. }) | (Some("off"), _) => AuditTo::Off,
            (None | Some("auto"), Mode::System { .. }) => AuditTo::Auto,
            (Some("journal"), _) => AuditTo::Journal,
            (Some("stderr"), _) => AuditTo::Stderr,
            (Some(path), _) => AuditTo::File(path.into()),
        },
        format: match word("format") {
            Some("json") => AuditFormat::Json,
            _ => AuditFormat::Text,
        },
        files: match word("files") {
            Some("none") => AuditFiles::None,
            Some("all") => AuditFiles::All,
            _ => AuditFiles::Findings,
        },
    }
}
