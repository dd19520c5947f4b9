//! A scan of EICAR from memory: does the whole way work, with which rules, how fast?
//!
//! Runs as anybody; the test file exists only as sealed memory.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_common::client::{Client, Event, Rules, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Failure, Outcome};
use serde::Serialize;

use super::CtlError;
use crate::broker::connect;
use crate::eicar::eicar;
use crate::output::{Reason, write_line};

#[derive(Serialize)]
struct PingObject {
    version: u32,
    found: bool,
    outcome: &'static str,
    generation: Option<String>,
    rules: Option<u32>,
    milliseconds: f64,
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

/// Scans EICAR and tells whether it was found.
pub fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let mut client = connect(dir)?;
    let probe = probe(&mut client, &eicar())?;
    let found = matches!(probe.outcome, Outcome::Match { .. });
    if json {
        let object = PingObject {
            version: 1,
            found,
            outcome: probe.outcome.word(),
            generation: probe.rules.map(|rules| rules.generation.to_string()),
            rules: probe.rules.map(|rules| rules.count),
            milliseconds: probe.milliseconds(),
        };
        write_line(out, &object)?;
    } else {
        writeln!(out, "{}", probe.describe("EICAR"))?;
    }
    Ok(u8::from(!found))
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
