//! What is in force, for people: the answer of `fdbroker --check-config`. Writes text, decides nothing.
//!
//! Runs in the configuration reader, or as an ordinary user.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

use fdbroker_common::escape::Escaped;

use super::settle::Settled;
use super::source::Source;
use super::users;
use crate::auditor::plan::{AuditFiles, AuditFormat, AuditPlan, AuditTo};
use crate::root::policy::{Limits, Subjects, TreeGrant};
use crate::root::settings::{Mode, Settings};

/// The whole answer, of lines.
///
/// # Errors
/// Never: memory takes what is written.
pub fn of(settled: &Settled, sources: &[Source]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let Settled { settings, written, .. } = settled;
    let files: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    let files =
        if files.is_empty() { "none; these are the defaults".into() } else { files.join(", ") };
    writeln!(text, "configuration  {files}")?;
    general(settings, &mut text)?;
    recorded(&settled.audit, &mut text)?;
    let policy = &settings.policy;
    for (place, subjects) in &written.denials {
        writeln!(text, "denied         {} ({})", people(subjects), place.line())?;
    }
    for ((subjects, limits), place) in policy.limits.iter().zip(&written.limits) {
        let limits = amounts(limits);
        writeln!(text, "limit          {}: {limits} ({})", people(subjects), place.line())?;
    }
    for (grant, place) in policy.grants.iter().zip(&written.grants) {
        writeln!(text, "grant          {} ({})", granted(grant), place.line())?;
    }
    Ok(text)
}

fn general(settings: &Settings, text: &mut String) -> fmt::Result {
    let Settings { mode, plan, .. } = settings;
    let path = |path: &Option<std::ffi::OsString>, none: &str| {
        path.as_deref().map_or_else(|| none.to_owned(), shown)
    };
    let served = match mode {
        Mode::System { .. } => {
            "every user, what they can read themselves; root everything".to_owned()
        }
        Mode::Personal { uid } => format!("{} alone", users::user(*uid)),
    };
    writeln!(text, "served         {served}")?;
    writeln!(text, "runtime_dir    {}", path(&settings.runtime_dir, "none"))?;
    writeln!(text, "rules          {}", path(&settings.rules, "the built-in one alone"))?;
    writeln!(text, "watch_rules    {}", plan.watch_rules)?;
    writeln!(text, "scanner_user   {}", users::user(plan.scanner_uid))?;
    writeln!(text, "spawn_scanner  {}", plan.starts_scanner)?;
    match plan.workers {
        0 => writeln!(text, "workers        what fdscand asks for"),
        workers => writeln!(text, "workers        {workers}"),
    }
}

fn recorded(audit: &AuditPlan, text: &mut String) -> fmt::Result {
    let to = match &audit.to {
        AuditTo::Auto => "auto".to_owned(),
        AuditTo::Journal => "journal".to_owned(),
        AuditTo::Stderr => "stderr".to_owned(),
        AuditTo::Off => "off".to_owned(),
        AuditTo::File(path) => shown(path),
    };
    let format = match audit.format {
        AuditFormat::Text => "text",
        AuditFormat::Json => "json",
    };
    let files = match audit.files {
        AuditFiles::None => "none",
        AuditFiles::Findings => "findings",
        AuditFiles::All => "all",
    };
    writeln!(text, "audit          to {to}, format {format}, files {files}")
}

fn shown(path: &OsStr) -> String {
    Escaped(path.as_bytes()).to_string()
}

/// Users and groups with their names.
#[must_use]
pub fn people(subjects: &Subjects) -> String {
    let users = subjects.uids.iter().map(|uid| users::user(*uid));
    let groups = subjects.gids.iter().map(|gid| format!("group {}", users::group(*gid)));
    users.chain(groups).collect::<Vec<_>>().join(", ")
}

/// What there is a limit for.
#[must_use]
pub fn amounts(limits: &Limits) -> String {
    let amounts = [
        ("connections", limits.connections.into()),
        ("files_in_flight", limits.files_in_flight.into()),
        ("scan_bytes", limits.scan_bytes),
        ("file_bytes_max", limits.file_bytes_max),
        ("file_deadline_s", limits.file_deadline_s.into()),
    ];
    let set = amounts.into_iter().filter(|(_, amount): &(_, u64)| *amount > 0);
    let set: Vec<String> = set.map(|(name, amount)| format!("{name} {amount}")).collect();
    if set.is_empty() { "none".into() } else { set.join(", ") }
}

fn granted(grant: &TreeGrant) -> String {
    let list = |paths: &[std::ffi::OsString]| {
        paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("{}: {}", people(&grant.subjects), list(&grant.trees));
    if !grant.except.is_empty() {
        text += &format!("; except {}", list(&grant.except));
    }
    if grant.hard_links {
        text += "; also files with several names";
    }
    text
}
