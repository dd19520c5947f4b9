//! A health check that really scans: EICAR must be found and something else must be clean.
//!
//! Runs as anybody; the files exist only as sealed memory. The time that it takes is bounded, whatever
//! the broker does.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker_common::client::{Client, Event, Rules, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Failure, Outcome};
use serde::Serialize;

use super::CtlError;
use crate::broker::{BrokerError, connect};
use crate::eicar::eicar;
use crate::output::{Reason, write_line};

/// Bytes in which nothing is to be found.
const HARMLESS: &[u8] = b"The quick brown fox jumps over the lazy dog.\n";

#[derive(Serialize)]
struct PingObject {
    version: u32,
    healthy: bool,
    found: bool,
    outcome: Option<&'static str>,
    harmless_outcome: Option<&'static str>,
    generation: Option<String>,
    rules: Option<u32>,
    milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What became of bytes in memory.
pub struct Probe {
    /// The outcome.
    pub outcome: Outcome,
    /// The rules in force.
    pub rules: Option<Rules>,
    /// From the first message to the last.
    pub duration: Duration,
}

impl Probe {
    fn milliseconds(&self) -> f64 {
        self.duration.as_secs_f64() * 1000.0
    }

    /// One line about it.
    pub fn describe(&self, what: &str) -> String {
        let by = match self.rules {
            Some(rules) => format!("generation {}", rules.generation),
            None => "the broker".to_owned(),
        };
        let time = self.milliseconds();
        match &self.outcome {
            Outcome::Match { .. } => format!("{what} found by {by} in {time:.1} ms"),
            Outcome::Clean => format!("{what} clean by {by} in {time:.1} ms"),
            other => format!("{what} {}: {}", other.word(), Reason(other)),
        }
    }
}

/// What is known of the broker's health so far.
#[derive(Default)]
struct Health {
    eicar: Option<Probe>,
    harmless: Option<Probe>,
    /// Why there is no more.
    reason: Option<String>,
}

/// How far the check is.
enum Step {
    Connected,
    Eicar(Probe),
    Harmless(Probe),
    /// There is no connection: nobody can be asked.
    Absent(BrokerError),
    /// There was one, and no answer came by it.
    Failed(String),
}

/// Scans both and tells what was found: 0 if the broker is healthy, 1 if not.
pub fn run(
    dir: &Path,
    timeout: Duration,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, CtlError> {
    let (sender, steps) = channel();
    let (begun, path) = (Instant::now(), dir.to_owned());
    // It may wait for longer than we do, and ends with this process.
    thread::Builder::new().spawn(move || check(&path, &sender))?;
    let (mut health, mut connected) = (Health::default(), false);
    let late = || format!("no answer within {} s", timeout.as_secs());
    while health.harmless.is_none() && health.reason.is_none() {
        match steps.recv_timeout(timeout.saturating_sub(begun.elapsed())) {
            Ok(Step::Connected) => connected = true,
            Ok(Step::Eicar(probe)) => health.eicar = Some(probe),
            Ok(Step::Harmless(probe)) => health.harmless = Some(probe),
            Ok(Step::Absent(error)) => return Err(error.into()),
            Ok(Step::Failed(reason)) => health.reason = Some(reason),
            Err(_) if connected => health.reason = Some(late()),
            Err(_) => return Err(CtlError::NoAnswer(late())),
        }
    }
    tell(&health, begun.elapsed(), json, out)
}

fn check(dir: &Path, steps: &Sender<Step>) {
    let mut client = match connect(dir) {
        Ok(client) => client,
        Err(error) => return drop(steps.send(Step::Absent(error))),
    };
    let _ = steps.send(Step::Connected);
    for (bytes, step) in [
        (eicar(), Step::Eicar as fn(Probe) -> Step),
        (HARMLESS.to_vec(), Step::Harmless as fn(Probe) -> Step),
    ] {
        let step = match probe(&mut client, &bytes) {
            Ok(probe) => step(probe),
            Err(error) => Step::Failed(error.to_string()),
        };
        let failed = matches!(step, Step::Failed(_));
        if steps.send(step).is_err() || failed {
            return;
        }
    }
}

fn tell(health: &Health, took: Duration, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let word = |probe: &Option<Probe>| probe.as_ref().map(|probe| probe.outcome.word());
    let found = word(&health.eicar) == Some("match");
    // Rules of an administrator may match anything; what counts is that there is a verdict.
    let judged = matches!(word(&health.harmless), Some("clean" | "match"));
    let healthy = found && judged;
    let rules = [&health.harmless, &health.eicar].into_iter().flatten().find_map(|it| it.rules);
    if json {
        let object = PingObject {
            version: 1,
            healthy,
            found,
            outcome: word(&health.eicar),
            harmless_outcome: word(&health.harmless),
            generation: rules.map(|rules| rules.generation.to_string()),
            rules: rules.map(|rules| rules.count),
            milliseconds: took.as_secs_f64() * 1000.0,
            reason: health.reason.clone(),
        };
        write_line(out, &object)?;
        return Ok(u8::from(!healthy));
    }
    for (what, probe) in [("EICAR", &health.eicar), ("a harmless file", &health.harmless)] {
        if let Some(probe) = probe {
            writeln!(out, "{}", probe.describe(what))?;
        }
    }
    if let Some(reason) = &health.reason {
        writeln!(out, "unhealthy: {reason}")?;
    } else if !healthy {
        writeln!(out, "unhealthy: EICAR must be found, and other bytes must have a verdict")?;
    }
    Ok(u8::from(!healthy))
}

/// Scans bytes from sealed memory.
pub fn probe(client: &mut Client, bytes: &[u8]) -> Result<Probe, CtlError> {
    let target = Target::from_bytes(bytes, b"fdbrokerctl".to_vec());
    let begun = Instant::now();
    let mut scan = client.scan(ScanOptions::default(), std::iter::once(target));
    // Nothing but the report replaces this.
    let mut outcome = Outcome::Error(Failure::NoScanner);
    for event in &mut scan {
        if let Event::Report(report) = event? {
            outcome = report.outcome;
        }
    }
    Ok(Probe { outcome, rules: scan.rules(), duration: begun.elapsed() })
}
