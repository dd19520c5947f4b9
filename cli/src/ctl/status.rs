//! How a broker is, as a table or an object.
//!
//! Runs as root or as the owner of the broker. Names of users are looked up here: the broker knows numbers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fdbroker_common::admin_link::{OpenerStatus, Status};
use fdbroker_common::escape::Escaped;
use nix::unistd::{Uid, User};
use serde::Serialize;

use super::CtlError;
use super::admin;
use super::time::{now, span, utc};
use crate::output::{Counts, write_line};

/// Users that are named in the table, at most: those with most openers.
const USERS_MAX: usize = 16;

#[derive(Serialize)]
struct StatusObject<'a> {
    version: u32,
    broker_pid: u32,
    dispatcher_pid: u32,
    scanner_pid: u32,
    scanner_uid: u32,
    uptime_seconds: u64,
    generation: Option<String>,
    rules: u32,
    workers_max: u32,
    workers: u32,
    workers_lent: u32,
    workers_lost: u64,
    openers: Vec<OpenerObject>,
    connections: u64,
    totals: Counts,
    last_error: &'a str,
    workers_stuck: u32,
    penalised_uids: &'a [u32],
    errors: u64,
    last_errors: Vec<ErrorObject<'a>>,
    loads: u64,
    load_failures: u64,
    loaded_at: Option<u64>,
    last_load: Option<LoadObject<'a>>,
}

#[derive(Serialize)]
struct OpenerObject {
    pid: u32,
    caller_uid: u32,
    busy: bool,
    workers: u32,
    waiting: bool,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    at: u64,
    message: &'a str,
}

#[derive(Serialize)]
struct LoadObject<'a> {
    at: u64,
    reason: Option<&'a str>,
}

/// Asks and tells.
pub fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let status = admin::status(dir)?;
    if json {
        write_line(out, &object(&status))?;
    } else {
        out.write_all(table(&status, now()).as_bytes())?;
    }
    Ok(0)
}

/// As an object for programs.
pub(super) fn object(status: &Status) -> impl Serialize + '_ {
    StatusObject {
        version: 1,
        broker_pid: status.broker_pid,
        dispatcher_pid: status.dispatcher_pid,
        scanner_pid: status.scanner_pid,
        scanner_uid: status.scanner_uid,
        uptime_seconds: status.uptime_s,
        generation: status.generation.map(|generation| generation.to_string()),
        rules: status.rules,
        workers_max: status.workers_max,
        workers: status.workers,
        workers_lent: status.workers_lent,
        workers_lost: status.workers_lost,
        openers: status.openers.iter().map(opener_object).collect(),
        connections: status.connections,
        totals: Counts::from(&status.totals),
        last_error: &status.last_error,
        workers_stuck: status.workers_stuck,
        penalised_uids: &status.penalised_uids,
        errors: status.errors,
        last_errors: status
            .last_errors
            .iter()
            .map(|note| ErrorObject { at: note.at_s, message: &note.message })
            .collect(),
        loads: status.loads,
        load_failures: status.load_failures,
        loaded_at: Some(status.loaded_at_s).filter(|at| *at > 0),
        last_load: status
            .last_load
            .as_ref()
            .map(|load| LoadObject { at: load.at_s, reason: load.refused.as_deref() }),
    }
}

fn opener_object(opener: &OpenerStatus) -> OpenerObject {
    OpenerObject {
        pid: opener.pid,
        caller_uid: opener.caller_uid,
        busy: opener.busy,
        workers: opener.workers,
        waiting: opener.waiting,
    }
}

/// As lines for people.
pub(super) fn table(status: &Status, now: u64) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<12} {text}\n"));
    line("broker", format!("pid {}, up {}", status.broker_pid, span(status.uptime_s)));
    line("dispatcher", format!("pid {}", status.dispatcher_pid));
    line(
        "scanner",
        match (status.generation, status.scanner_pid) {
            (None, _) => "none is ready; start fdscand".to_owned(),
            (Some(_), 0) => format!("uid {}", status.scanner_uid),
            (Some(_), pid) => format!("pid {pid}, uid {}", status.scanner_uid),
        },
    );
    if let Some(generation) = status.generation {
        let since = ago(status.loaded_at_s, now);
        line("rules", format!("{}, generation {generation}, loaded {since}", status.rules));
    }
    if let Some(load) = &status.last_load {
        let came = match &load.refused {
            None => "good".to_owned(),
            Some(why) => format!("refused: {}", Escaped(why.as_bytes())),
        };
        let counts = format!("{} good, {} refused", status.loads, status.load_failures);
        line("last load", format!("{}: {came} ({counts} in all)", ago(load.at_s, now)));
    }
    let (workers, max) = (status.workers, status.workers_max);
    let (lent, lost) = (status.workers_lent, status.workers_lost);
    line("workers", format!("{workers} of {max}, {lent} lent, {lost} lost"));
    if status.workers_stuck > 0 {
        let stuck = status.workers_stuck;
        line("stuck", format!("{stuck} workers hang on files and cannot be ended"));
    }
    let openers = status.openers.len();
    let count = |which: fn(&&OpenerStatus) -> bool| status.openers.iter().filter(which).count();
    let (busy, waiting) = (count(|it| it.busy), count(|it| it.waiting));
    line("openers", format!("{openers}, {busy} busy, {waiting} waiting for a worker"));
    line("connections", status.connections.to_string());
    line("files", files(status));
    for text in users(status) {
        line("user", text);
    }
    for note in &status.last_errors {
        let text = format!("{}: {}", ago(note.at_s, now), Escaped(note.message.as_bytes()));
        line("error", text);
    }
    lines.concat()
}

fn files(status: &Status) -> String {
    let totals = &status.totals;
    format!(
        "{}: {} clean, {} matched, {} incomplete, {} unstable, {} denied, {} errors; {} skipped",
        totals.files(),
        totals.clean,
        totals.matched,
        totals.incomplete,
        totals.unstable,
        totals.denied,
        totals.errors,
        totals.skipped
    )
}

#[derive(Default)]
struct Load {
    openers: usize,
    workers: u64,
    waiting: usize,
    penalised: bool,
}

/// A line for each user who has openers or is penalised, those with most first.
fn users(status: &Status) -> Vec<String> {
    let mut users = BTreeMap::<u32, Load>::new();
    for opener in &status.openers {
        let load = users.entry(opener.caller_uid).or_default();
        load.openers += 1;
        load.workers += u64::from(opener.workers);
        load.waiting += usize::from(opener.waiting);
    }
    for uid in &status.penalised_uids {
        users.entry(*uid).or_default().penalised = true;
    }
    let mut users: Vec<(u32, Load)> = users.into_iter().collect();
    users.sort_by_key(|(uid, load)| (std::cmp::Reverse((load.openers, load.workers)), *uid));
    let more = users.len().saturating_sub(USERS_MAX);
    users.truncate(USERS_MAX);
    let mut lines: Vec<String> = users.iter().map(|(uid, load)| user(*uid, load)).collect();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

fn user(uid: u32, load: &Load) -> String {
    let name = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} (uid {uid})", Escaped(user.name.as_bytes())),
        _ => format!("uid {uid}"),
    };
    let Load { openers, workers, waiting, penalised } = load;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let mut text = format!(
        "{name}: {openers} opener{}, {workers} worker{}",
        plural(*openers as u64),
        plural(*workers)
    );
    if *waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    if *penalised {
        text.push_str(", penalised: lost many workers, waits for the next");
    }
    text
}

/// How long ago, and when.
fn ago(at: u64, now: u64) -> String {
    format!("{} ago ({})", span(now.saturating_sub(at)), utc(at))
}

#[cfg(test)]
mod tests {
    use fdbroker_common::admin_link::{ErrorNote, LastLoad};
    use fdbroker_common::generation::GenerationId;

    use super::*;

    fn opener(uid: u32, waiting: bool) -> OpenerStatus {
        let workers = if waiting { 0 } else { 2 };
        OpenerStatus { pid: 1, caller_uid: uid, busy: true, workers, waiting }
    }

    #[test]
    fn the_table_tells_users_the_last_load_and_the_last_errors() {
        let status = Status {
            generation: Some(GenerationId([0xab; 16])),
            rules: 7,
            openers: vec![opener(0, false), opener(4_000_000_000, true)],
            penalised_uids: vec![4_000_000_000, 4_000_000_001],
            loaded_at_s: 940,
            loads: 2,
            load_failures: 1,
            last_load: Some(LastLoad { at_s: 995, refused: Some("a.yar:7: b\n".to_owned()) }),
            last_errors: vec![ErrorNote { at_s: 999, message: "x\x1b[2J".to_owned() }],
            ..Status::default()
        };
        let table = table(&status, 1000);
        for expected in [
            "rules        7, generation abababababababababababababababab, loaded 1 min 0 s ago (1970-01-01T00:15:40Z)",
            "last load    5 s ago (1970-01-01T00:16:35Z): refused: a.yar:7: b\\n (2 good, 1 refused in all)",
            "openers      2, 2 busy, 1 waiting for a worker",
            "user         root (uid 0): 1 opener, 2 workers",
            "user         uid 4000000000: 1 opener, 0 workers, 1 waiting, penalised: lost many workers, waits for the next",
            "user         uid 4000000001: 0 openers, 0 workers, penalised: lost many workers, waits for the next",
            "error        1 s ago (1970-01-01T00:16:39Z): x\\x1b[2J",
        ] {
            assert!(table.lines().any(|line| line == expected), "{expected}\n{table}");
        }
    }
}
