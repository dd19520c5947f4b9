//! What became of acts that must fail, and what had to become of them.

use std::io::{self, Write};

use fdbroker_common::admin_link::{AdminReply, AdminRequest};
use fdbroker_common::probe::{Act, DEADLINE, Expected, Fence, Found, landlock_abi};
use serde::Serialize;

use crate::ctl::CtlError;
use crate::ctl::admin::AdminLink;

/// One act in one fence.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    fence: Fence,
    act: Act,
    expected: Expected,
    /// None if this kernel cannot refuse it, so that it was not tried.
    found: Option<Found>,
}

/// A [`Probe`] for programs.
#[derive(Debug, Serialize)]
pub struct ProbeObject {
    fence: &'static str,
    act: &'static str,
    about: &'static str,
    expected: String,
    found: Option<String>,
    ok: bool,
}

impl Probe {
    /// All acts that a fence has to refuse, as `attempt` finds them: one finding for each that it is
    /// passed, in that order.
    pub fn all(
        fence: Fence,
        attempt: impl FnOnce(&[Act]) -> Result<Vec<Found>, CtlError>,
    ) -> Result<Vec<Self>, CtlError> {
        let abi = landlock_abi();
        let rows = Act::ALL.iter().filter_map(|act| Some((*act, act.expected(fence)?)));
        let mut probes: Vec<Self> =
            rows.map(|(act, expected)| Self { fence, act, expected, found: None }).collect();
        let (mut tried, _): (Vec<&mut Self>, Vec<&mut Self>) =
            probes.iter_mut().partition(|probe| probe.expected.landlock <= abi);
        let acts: Vec<Act> = tried.iter().map(|probe| probe.act).collect();
        let found = attempt(&acts)?;
        for (nth, probe) in tried.iter_mut().enumerate() {
            probe.found = Some(found.get(nth).copied().unwrap_or(Found::NotTried));
        }
        Ok(probes)
    }

    /// Whether it was refused as it had to be, or could not be.
    pub fn is_well(&self) -> bool {
        self.found.is_none_or(|found| self.expected.is(found))
    }

    /// For programs.
    pub fn object(&self) -> ProbeObject {
        ProbeObject {
            fence: self.fence.name(),
            act: self.act.name(),
            about: self.act.about(),
            expected: self.expected.to_string(),
            found: self.found.map(|found| found.to_string()),
            ok: self.is_well(),
        }
    }
}

/// Has the live template make a worker for each act.
pub fn of_worker(link: &mut AdminLink) -> Result<Vec<Probe>, CtlError> {
    Probe::all(Fence::Worker, |acts| {
        let wait = DEADLINE.saturating_mul(2);
        let ask = |act: &Act| match link.ask(AdminRequest::Probe(*act), wait)? {
            AdminReply::Probed(cause) => Ok(Found::from_cause(cause)),
            AdminReply::NotProbed => Err(CtlError::NoAnswer("no scanner is ready".to_owned())),
            _ => Err(CtlError::NoAnswer("another answer".to_owned())),
        };
        acts.iter().map(ask).collect()
    })
}

/// A line for each, then how many.
pub fn write(out: &mut impl Write, probes: &[Probe]) -> io::Result<()> {
    for probe in probes {
        let (fence, act) = (probe.fence.name(), probe.act.name());
        match probe.found {
            Some(found) if probe.expected.is(found) => {
                writeln!(out, "ok    {fence:<11} {act:<18} {found}")?;
            }
            Some(found) => {
                let (expected, about) = (probe.expected, probe.act.about());
                let line = format!("expected {expected}, found {found} ({about})");
                writeln!(out, "FAIL  {fence:<11} {act:<18} {line}")?;
            }
            None => {
                let line = "not tried: this kernel is too old to refuse it";
                writeln!(out, "-     {fence:<11} {act:<18} {line}")?;
            }
        }
    }
    let tried = probes.iter().filter(|probe| probe.found.is_some()).count();
    let failed = probes.iter().filter(|probe| !probe.is_well()).count();
    writeln!(out, "{tried} forbidden acts tried, {failed} not refused as they must be")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(found: impl Fn(Act) -> Found) -> Vec<Probe> {
        Probe::all(Fence::Worker, |acts| Ok(acts.iter().map(|act| found(*act)).collect())).unwrap()
    }

    fn text(probes: &[Probe]) -> String {
        let mut out = Vec::new();
        write(&mut out, probes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_found_as_expected_is_well() {
        let all = probes(|act| act.expected(Fence::Worker).unwrap().any_of[0]);
        assert!(all.iter().all(Probe::is_well));
        let text = text(&all);
        assert!(text.contains("ok    worker      execve             killed by SIGSYS\n"), "{text}");
        assert!(text.ends_with(" 0 not refused as they must be\n"), "{text}");
    }

    #[test]
    fn a_success_another_errno_and_no_result_are_each_a_failure() {
        for found in [Found::Succeeded, Found::Refused(1), Found::Hung, Found::NotTried] {
            let all = probes(|_| found);
            let bad: Vec<&Probe> = all.iter().filter(|probe| probe.is_well()).collect();
            assert!(bad.is_empty(), "{bad:?}");
        }
        let text = text(&probes(|_| Found::Succeeded));
        let line = "expected killed by SIGSYS, found succeeded (execute /bin/sh)\n";
        assert!(text.contains(&format!("FAIL  worker      execve             {line}")), "{text}");
    }

    #[test]
    fn a_finding_that_is_missing_is_no_refusal() {
        let all = Probe::all(Fence::Worker, |_| Ok(Vec::new())).unwrap();
        assert!(all.iter().all(|probe| !probe.is_well()));
    }
}
