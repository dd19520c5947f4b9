//! Checks from outside that a broker works and that its processes are as confined as promised.
//!
//! Runs as root or as the owner of the broker. It trusts the kernel's view in /proc over anything
//! that the processes say.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use fdbroker_common::admin_link::{OpenerStatus, Status};
use fdbroker_common::outcome::Outcome;
use serde::Serialize;

use super::CtlError;
use super::processes::{EFFECTIVE, Facts, PERMITTED, descendants};
use super::{admin, ping};
use crate::broker::connect;
use crate::eicar::eicar;
use crate::output::write_line;

/// `CAP_DAC_READ_SEARCH`, all that an opener for granted trees may have.
const READ_SEARCH: u64 = 1 << 2;

const SECCOMP_FILTER: u32 = 2;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
struct SelfTestObject<'a> {
    version: u32,
    ok: bool,
    checks: &'a [Check],
}

/// Tests and tells.
pub fn run(dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let mut client = connect(dir)?;
    let eicar = ping::probe(&mut client, &eicar())?;
    let harmless = ping::probe(&mut client, b"nothing to be found here\n")?;
    // The connection stays open, so that the processes behind it are there to be looked at.
    let status = admin::status(dir)?;
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
    checks.push(dispatcher_check(&status));
    checks.extend(scanner_checks(&status));
    checks.extend(status.openers.iter().filter_map(opener_check));
    drop(client);

    let ok = checks.iter().all(|check| check.ok);
    if json {
        let object = SelfTestObject { version: 1, ok, checks: &checks };
        write_line(out, &object)?;
    } else {
        for Check { what, ok, detail } in &checks {
            let word = if *ok { "ok" } else { "FAIL" };
            writeln!(out, "{word:<5} {what:<15} {detail}")?;
        }
    }
    Ok(u8::from(!ok))
}

fn scanner_checks(status: &Status) -> Vec<Check> {
    if status.scanner_pid == 0 {
        return vec![failed("scanner", "its process id is not known")];
    }
    let Some(broker) = Facts::of(status.broker_pid) else {
        return vec![failed("broker", "not visible in /proc")];
    };
    let personal = broker.uids.first().is_some_and(|uid| *uid != 0);
    let Some(supervisor) = Facts::of(status.scanner_pid) else {
        return vec![failed("scanner", "not visible in /proc")];
    };
    let mut checks = vec![judged(
        format!("scanner {}", status.scanner_pid),
        identity_faults(&supervisor, status.scanner_uid),
        "scanner's user, no capabilities",
    )];
    let sealed: Vec<Check> = descendants(status.scanner_pid)
        .into_iter()
        .filter_map(|pid| {
            let wrong = worker_faults(&Facts::of(pid)?, status.scanner_uid, personal);
            let facts = "scanner's user, no capabilities, no_new_privs, seccomp filter";
            Some(judged(format!("worker {pid}"), wrong, facts))
        })
        .collect();
    if sealed.is_empty() {
        checks.push(failed("workers", "no process found below the scanner"));
    }
    checks.extend(sealed);
    checks
}

/// The scanner's user four times, and no capability of any kind.
fn identity_faults(facts: &Facts, scanner_uid: u32) -> String {
    let mut wrong = String::new();
    if scanner_uid == 0 || facts.uids.iter().any(|uid| *uid != scanner_uid) {
        fault(&mut wrong, &format_args!("uids {:?}, scanner {scanner_uid}", facts.uids));
    }
    if facts.capabilities != [0; 4] {
        fault(&mut wrong, &format_args!("capabilities {:x?}", facts.capabilities));
    }
    wrong
}

/// What a process that judges files has and should not have. Only a broker that root started could
/// take its groups away.
fn worker_faults(facts: &Facts, scanner_uid: u32, personal: bool) -> String {
    let mut wrong = identity_faults(facts, scanner_uid);
    if !personal && facts.groups.iter().any(|group| *group != facts.gid) {
        fault(&mut wrong, &format_args!("groups {:?}", facts.groups));
    }
    seal_faults(&mut wrong, facts);
    wrong
}

fn dispatcher_check(status: &Status) -> Check {
    let Some(facts) = Facts::of(status.dispatcher_pid) else {
        return failed("dispatcher", "not visible in /proc");
    };
    let what = format!("dispatcher {}", status.dispatcher_pid);
    let fine = "not root, no capabilities, no_new_privs, seccomp filter";
    judged(what, confined_faults(&facts, 0), fine)
}

fn opener_check(opener: &OpenerStatus) -> Option<Check> {
    // One that has ended since the status was taken is no finding.
    let facts = Facts::of(opener.pid)?;
    let what = format!("opener {}", opener.pid);
    let fine = "not root, at most CAP_DAC_READ_SEARCH, no_new_privs, seccomp filter";
    Some(judged(what, confined_faults(&facts, READ_SEARCH), fine))
}

/// What is wrong with a process that is not root and has no capability but perhaps `allowed`.
fn confined_faults(facts: &Facts, allowed: u64) -> String {
    let mut wrong = String::new();
    if facts.uids.contains(&0) {
        fault(&mut wrong, &format_args!("uids {:?}", facts.uids));
    }
    let held = [PERMITTED, EFFECTIVE].map(|set| facts.capabilities.get(set).copied());
    if held.iter().flatten().any(|set| set & !allowed != 0) {
        fault(&mut wrong, &format_args!("capabilities {:x?}", facts.capabilities));
    }
    seal_faults(&mut wrong, facts);
    wrong
}

fn seal_faults(wrong: &mut String, facts: &Facts) {
    if !facts.no_new_privs {
        fault(wrong, &"no_new_privs is not set");
    }
    if facts.seccomp != SECCOMP_FILTER {
        fault(wrong, &format_args!("seccomp {}", facts.seccomp));
    }
}

fn fault(wrong: &mut String, what: &dyn std::fmt::Display) {
    let separator = if wrong.is_empty() { "" } else { "; " };
    // Writing to a string does not fail.
    let _ = write!(wrong, "{separator}{what}");
}

fn judged(what: String, wrong: String, fine: &str) -> Check {
    let ok = wrong.is_empty();
    let detail = if ok { fine.to_owned() } else { wrong };
    Check { what, ok, detail }
}

fn failed(what: &str, why: &str) -> Check {
    judged(what.to_owned(), why.to_owned(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Facts {
        Facts {
            uids: vec![65534; 4],
            gid: 65534,
            groups: Vec::new(),
            capabilities: [0; 4],
            no_new_privs: true,
            seccomp: 2,
        }
    }

    #[test]
    fn a_sealed_process_has_no_faults() {
        assert_eq!(worker_faults(&sealed(), 65534, false), "");
        assert_eq!(confined_faults(&sealed(), READ_SEARCH), "");
    }

    #[test]
    fn each_missing_confinement_of_a_worker_is_a_fault() {
        let break_it: [fn(&mut Facts); 6] = [
            |facts| facts.uids[2] = 0,
            |facts| facts.groups.push(0),
            |facts| facts.capabilities[0] = 1,
            |facts| facts.capabilities[3] = READ_SEARCH,
            |facts| facts.no_new_privs = false,
            |facts| facts.seccomp = 0,
        ];
        for (nth, broken) in break_it.iter().enumerate() {
            let mut facts = sealed();
            broken(&mut facts);
            assert_ne!(worker_faults(&facts, 65534, false), "", "{nth}");
        }
        assert_ne!(worker_faults(&sealed(), 0, false), "");
    }

    #[test]
    fn an_opener_may_have_one_capability_and_no_other() {
        let mut facts = sealed();
        facts.capabilities[EFFECTIVE] = READ_SEARCH;
        assert_eq!(confined_faults(&facts, READ_SEARCH), "");
        assert_ne!(confined_faults(&facts, 0), "");
        facts.capabilities[PERMITTED] = READ_SEARCH | 1;
        assert_ne!(confined_faults(&facts, READ_SEARCH), "");
        let mut root = sealed();
        root.uids[2] = 0;
        assert_ne!(confined_faults(&root, READ_SEARCH), "");
    }
}
