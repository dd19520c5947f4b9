//! Checks that a broker works, that its processes are as confined as promised, and that what they must
//! not do fails when it is tried.
//!
//! Runs as root or as the owner of the broker. It trusts the kernel's view over anything that the
//! processes say. Acts are tried by workers made for it and by fresh processes behind the same fences,
//! never by a process that serves somebody.

mod confinement;
mod fences;
mod probes;

use std::io::Write;
use std::path::Path;

use fdbroker_common::client::{Client, Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;
use serde::Serialize;

use super::CtlError;
use super::admin::{self, AdminLink};
use super::ping;
use crate::broker::connect;
use crate::eicar::eicar;
use crate::output::{Reason, write_line};
use probes::{Probe, ProbeObject};

/// One line of the table.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    ok: bool,
    detail: String,
}

impl Check {
    /// What is wrong, or what is fine if nothing is.
    fn judged(what: String, wrong: String, fine: &str) -> Self {
        let ok = wrong.is_empty();
        let detail = if ok { fine.to_owned() } else { wrong };
        Self { what, ok, detail }
    }

    fn failed(what: &str, why: &str) -> Self {
        Self::judged(what.to_owned(), why.to_owned(), "")
    }
}

#[derive(Serialize)]
struct SelfTestObject<'a> {
    version: u32,
    ok: bool,
    checks: &'a [Check],
    probes: Vec<ProbeObject>,
}

/// Whether the files of a directory are found by name, opened and judged. What is in memory is scanned also where a
/// service manager's filter has taken openat2(2) away.
fn walked(client: &mut Client, directory: &Path) -> Check {
    let what = "scan".to_owned();
    let mut scan = client.scan(ScanOptions::default(), std::iter::once(Target::open(directory)));
    let (mut clean, mut wrong) = (0, String::new());
    for event in &mut scan {
        match event {
            Ok(Event::Report(report)) if report.outcome == Outcome::Clean => clean += 1,
            Ok(Event::Report(report)) => {
                wrong = format!("a file of a directory: {}", Reason(&report.outcome));
            }
            Ok(_) => {}
            Err(error) => wrong = error.to_string(),
        }
    }
    if wrong.is_empty() && clean != 2 {
        wrong = format!("{clean} files of a directory are clean, not 2");
    }
    Check::judged(what, wrong, "the files of a directory are clean")
}

/// Tests and tells.
pub fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let mut client = connect(dir)?;
    let eicar = ping::probe(&mut client, &eicar())?;
    let harmless = ping::probe(&mut client, b"nothing to be found here\n")?;
    // The connection stays open, so that the processes behind it are there to be looked at.
    let status = admin::status(dir)?;
    let mut link = AdminLink::open(dir)?;
    let mut checks = vec![
        Check {
            what: "scan".to_owned(),
            ok: matches!(eicar.outcome, Outcome::Match { .. }),
            detail: eicar.describe("EICAR"),
        },
        Check {
            what: "scan".to_owned(),
            ok: harmless.outcome == Outcome::Clean,
            detail: harmless.describe("harmless bytes"),
        },
    ];
    let (fences, mut probes) = match fences::Prober::new(&link) {
        Ok(prober) => {
            checks.push(walked(&mut client, prober.place()));
            (prober.confinements(), prober.probes())
        }
        Err(error) => {
            checks.push(Check::failed("fences", &format!("cannot be probed: {error}")));
            (Vec::new(), Vec::new())
        }
    };
    checks.extend(confinement::checks(&status, &fences));
    drop(client);
    match probes::of_worker(&mut link) {
        Ok(of_worker) => probes.splice(0..0, of_worker).for_each(drop),
        Err(error) => checks.push(Check::failed("worker", &format!("cannot be probed: {error}"))),
    }

    let ok = checks.iter().all(|check| check.ok) && probes.iter().all(Probe::is_well);
    if json {
        let probes = probes.iter().map(Probe::object).collect();
        write_line(out, &SelfTestObject { version: 1, ok, checks: &checks, probes })?;
    } else {
        for Check { what, ok, detail } in &checks {
            let word = if *ok { "ok" } else { "FAIL" };
            writeln!(out, "{word:<5} {what:<15} {detail}")?;
        }
        probes::write(out, &probes)?;
    }
    Ok(u8::from(!ok))
}
