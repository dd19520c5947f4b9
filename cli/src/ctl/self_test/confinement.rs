//! The confinement of the live processes, by the kernel's word in /proc.

use std::fmt::Write as _;
use std::time::Duration;

use fdbroker_common::admin_link::{OpenerStatus, Status};
use fdbroker_common::probe::Fence;

use super::Check;
use crate::ctl::processes::{EFFECTIVE, Facts, PERMITTED, descendants};

/// `CAP_DAC_READ_SEARCH`, all that an opener for granted trees may have.
const READ_SEARCH: u64 = 1 << 2;

const SECCOMP_FILTER: u32 = 2;

/// How often, and how long apart, a process that is just being made is looked at until it is confined.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// All processes of a broker, compared with what fresh ones behind the same fences are.
pub fn checks(status: &Status, fences: &[(Fence, Facts)]) -> Vec<Check> {
    let Some(broker) = Facts::of(status.broker_pid) else {
        return vec![Check::failed("broker", "not visible in /proc")];
    };
    let personal = broker.uids.first().is_some_and(|uid| *uid != 0);
    let what = format!("broker {}", status.broker_pid);
    let fences = as_within(&broker, fences);
    let probed = |fence: Fence| fences.iter().find(|(other, _)| *other == fence).map(|(_, f)| f);
    let mut wrong = String::new();
    seal_faults(&mut wrong, &broker);
    fence_faults(&mut wrong, &broker, probed(Fence::Broker));
    let mut checks = vec![Check::judged(what, wrong, "no_new_privs, its capabilities and filters")];
    checks.push(dispatcher_check(status, probed(Fence::Dispatcher)));
    checks.extend(scanner_checks(status, personal));
    checks.extend(
        status.openers.iter().filter_map(|opener| {
            opener_check(opener, probed(Fence::Opener), probed(Fence::Reader))
        }),
    );
    checks
}

/// What fresh processes are, as they would be within the filters of a service manager. These lie around all
/// processes of a broker that it has started: so many more does the broker have than a fresh one.
fn as_within(broker: &Facts, fences: &[(Fence, Facts)]) -> Vec<(Fence, Facts)> {
    let fresh = fences.iter().find(|(fence, _)| *fence == Fence::Broker);
    let around = fresh.map_or(0, |(_, fresh)| broker.filters.saturating_sub(fresh.filters));
    let within = |facts: &Facts| {
        let filters = facts.filters.saturating_add(around);
        Facts { filters, ..facts.clone() }
    };
    fences.iter().map(|(fence, facts)| (*fence, within(facts))).collect()
}

fn scanner_checks(status: &Status, personal: bool) -> Vec<Check> {
    if status.scanner_pid == 0 {
        return vec![Check::failed("scanner", "its process id is not known")];
    }
    let Some(supervisor) = Facts::of(status.scanner_pid) else {
        return vec![Check::failed("scanner", "not visible in /proc")];
    };
    let mut checks = vec![Check::judged(
        format!("scanner {}", status.scanner_pid),
        identity_faults(&supervisor, status.scanner_uid),
        "scanner's user, no capabilities",
    )];
    let below = descendants(status.scanner_pid);
    let sealed = below.into_iter().filter_map(|pid| {
        let faults = |facts: &Facts| {
            let mut wrong = worker_faults(facts, status.scanner_uid, personal);
            // A template has one filter more than its supervisor, and its workers one more than it.
            let is_template = facts.parent == status.scanner_pid;
            let filters = supervisor.filters.saturating_add(if is_template { 1 } else { 2 });
            filter_faults(&mut wrong, facts.filters, filters);
            wrong
        };
        let wrong = settled(pid, faults)?;
        let fine = "scanner's user, no capabilities, no_new_privs, seccomp filters";
        Some(Check::judged(format!("worker {pid}"), wrong, fine))
    });
    let sealed: Vec<Check> = sealed.collect();
    if sealed.is_empty() {
        checks.push(Check::failed("workers", "no process found below the scanner"));
    }
    checks.extend(sealed);
    checks
}

/// What is wrong with a process once it has had time to confine itself; none if it has ended.
fn settled(pid: u32, faults: impl Fn(&Facts) -> String) -> Option<String> {
    let mut wrong = faults(&Facts::of(pid)?);
    for _ in 0..LOOKS {
        if wrong.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        wrong = faults(&Facts::of(pid)?);
    }
    Some(wrong)
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

fn dispatcher_check(status: &Status, probed: Option<&Facts>) -> Check {
    let Some(facts) = Facts::of(status.dispatcher_pid) else {
        return Check::failed("dispatcher", "not visible in /proc");
    };
    let what = format!("dispatcher {}", status.dispatcher_pid);
    let fine = "not root, no capabilities, no_new_privs, seccomp filters";
    let mut wrong = confined_faults(&facts, 0);
    fence_faults(&mut wrong, &facts, probed);
    Check::judged(what, wrong, fine)
}

fn opener_check(
    opener: &OpenerStatus,
    of_user: Option<&Facts>,
    with_own_uid: Option<&Facts>,
) -> Option<Check> {
    let faults = |facts: &Facts| {
        // Root's, and those for granted trees, have a user of their own.
        let of_caller = facts.uids.iter().all(|uid| *uid == opener.caller_uid);
        let mut wrong = confined_faults(facts, READ_SEARCH);
        fence_faults(&mut wrong, facts, if of_caller { of_user } else { with_own_uid });
        wrong
    };
    // One that has ended since the status was taken is no finding.
    let wrong = settled(opener.pid, faults)?;
    let what = format!("opener {}", opener.pid);
    let fine = "not root, at most CAP_DAC_READ_SEARCH, no_new_privs, seccomp filters";
    Some(Check::judged(what, wrong, fine))
}

/// In what a live process differs from a fresh one behind the same fence.
fn fence_faults(wrong: &mut String, facts: &Facts, probed: Option<&Facts>) {
    let Some(probed) = probed else {
        return fault(wrong, &"no fresh process to compare it with");
    };
    filter_faults(wrong, facts.filters, probed.filters);
    if facts.capabilities != probed.capabilities {
        let (has, should) = (facts.capabilities, probed.capabilities);
        fault(wrong, &format_args!("capabilities {has:x?}, not {should:x?}"));
    }
}

fn filter_faults(wrong: &mut String, has: u32, should: u32) {
    if has != should {
        fault(wrong, &format_args!("{has} seccomp filters, not {should}"));
    }
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
            filters: 3,
            parent: 7,
        }
    }

    #[test]
    fn a_process_that_differs_from_a_fresh_one_has_faults() {
        let compare = |facts: &Facts| {
            let mut wrong = String::new();
            fence_faults(&mut wrong, facts, Some(&sealed()));
            wrong
        };
        assert_eq!(compare(&sealed()), "");
        assert_eq!(compare(&Facts { filters: 2, ..sealed() }), "2 seccomp filters, not 3");
        assert_ne!(compare(&Facts { capabilities: [0, 4, 4, 0], ..sealed() }), "");
        let mut wrong = String::new();
        fence_faults(&mut wrong, &sealed(), None);
        assert_ne!(wrong, "");
    }

    #[test]
    fn filters_of_a_service_manager_are_around_all_processes() {
        let with = |filters| Facts { filters, ..sealed() };
        let fences = [(Fence::Broker, with(2)), (Fence::Dispatcher, with(3))];
        let expected = |broker| {
            let fences = as_within(&with(broker), &fences);
            fences.iter().map(|(_, facts)| facts.filters).collect::<Vec<_>>()
        };
        assert_eq!(expected(2), [2, 3]);
        assert_eq!(expected(9), [9, 10]);
        // One of its own is missing: nothing is around it.
        assert_eq!(expected(1), [2, 3]);
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
