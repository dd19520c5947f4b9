//! How a broker is, as a table or an object.
//!
//! Runs as root or as the owner of the broker.

use std::io::{self, Write};
use std::path::Path;

use fdbroker_common::admin_link::{OpenerStatus, Status};
use fdbroker_common::escape::Escaped;
use serde::Serialize;

use super::CtlError;
use super::admin;
use crate::output::{Counts, write_line};

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
}

#[derive(Serialize)]
struct OpenerObject {
    pid: u32,
    caller_uid: u32,
    busy: bool,
    workers: u32,
}

/// Asks and tells.
pub fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let status = admin::status(dir)?;
    if json {
        write_line(out, &object(&status))?;
    } else {
        write_table(out, &status)?;
    }
    Ok(0)
}

fn object(status: &Status) -> StatusObject<'_> {
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
    }
}

fn opener_object(opener: &OpenerStatus) -> OpenerObject {
    OpenerObject {
        pid: opener.pid,
        caller_uid: opener.caller_uid,
        busy: opener.busy,
        workers: opener.workers,
    }
}

fn write_table(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let uptime = uptime(status.uptime_s);
    writeln!(out, "broker       pid {}, up {uptime}", status.broker_pid)?;
    writeln!(out, "dispatcher   pid {}", status.dispatcher_pid)?;
    match (status.generation, status.scanner_pid) {
        (None, _) => writeln!(out, "scanner      none is ready; start fdscand")?,
        (Some(_), 0) => writeln!(out, "scanner      uid {}", status.scanner_uid)?,
        (Some(_), pid) => writeln!(out, "scanner      pid {pid}, uid {}", status.scanner_uid)?,
    }
    if let Some(generation) = status.generation {
        writeln!(out, "rules        {}, generation {generation}", status.rules)?;
    }
    writeln!(
        out,
        "workers      {} of {}, {} lent, {} lost",
        status.workers, status.workers_max, status.workers_lent, status.workers_lost
    )?;
    writeln!(out, "connections  {}", status.connections)?;
    let totals = &status.totals;
    writeln!(
        out,
        "files        {}: {} clean, {} matched, {} incomplete, {} unstable, {} denied, {} errors; {} skipped",
        totals.files(),
        totals.clean,
        totals.matched,
        totals.incomplete,
        totals.unstable,
        totals.denied,
        totals.errors,
        totals.skipped
    )?;
    if status.workers_stuck > 0 {
        writeln!(
            out,
            "stuck        {} workers hang on files and cannot be ended",
            status.workers_stuck
        )?;
    }
    if !status.penalised_uids.is_empty() {
        let uids: Vec<String> = status.penalised_uids.iter().take(16).map(u32::to_string).collect();
        let more = status.penalised_uids.len().saturating_sub(uids.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(
            out,
            "penalised    uid {}{more}: lost many workers, waits for the next",
            uids.join(", ")
        )?;
    }
    for opener in &status.openers {
        let state = if opener.busy { "busy" } else { "idle" };
        writeln!(
            out,
            "opener       pid {}, for uid {}, {state}, {} workers",
            opener.pid, opener.caller_uid, opener.workers
        )?;
    }
    if !status.last_error.is_empty() {
        let error = Escaped(status.last_error.as_bytes());
        writeln!(out, "last error   {error}")?;
    }
    Ok(())
}

fn uptime(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (days, hours) = (hours / 24, hours % 24);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::uptime;

    #[test]
    fn uptime_is_told_in_two_units() {
        for (seconds, text) in
            [(5, "5 s"), (65, "1 min 5 s"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(uptime(seconds), text);
        }
    }
}
