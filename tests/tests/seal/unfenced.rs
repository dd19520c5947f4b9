//! What the acts do where nothing forbids them, and that the fences are what refuses them.

use std::time::Duration;

use fdbroker_common::probe::{Act, Fence, Found};
use fdbroker_tests::{proc, require_root, wait_until};
use nix::errno::Errno;

use super::Place;

/// What became of the acts, each tried by a process of its own, by what that has said.
fn unfenced(place: &Place, act: Act) -> Found {
    place.refill();
    let output = place.probe("none").arg(act.name()).output();
    if let Some(signal) = output.signal {
        return Found::Killed(signal);
    }
    match output.text().trim().rsplit_once(' ') {
        Some((name, code)) if name == act.name() => {
            Found::from_code(code.parse().expect("an exit status"))
        }
        // Another program has run in its place.
        _ => output.code.map_or(Found::NotTried, Found::from_code),
    }
}

#[test]
fn outside_of_any_fence_the_same_acts_succeed() {
    require_root!();
    let place = Place::new();
    let found: Vec<(Act, Found)> = Act::ALL
        .iter()
        .filter(|act| act.exists())
        .map(|act| (*act, unfenced(&place, *act)))
        .collect();
    for (act, found) in &found {
        assert!(!matches!(found, Found::NotTried | Found::Hung), "{}: {found}", act.name());
        // EDOM is the word of an act that has no attempt at all.
        assert_ne!(*found, Found::Refused(Errno::EDOM as i32), "{}", act.name());
    }
    let succeeded = |act: &Act| found.contains(&(*act, Found::Succeeded));
    // These need nothing that a machine or a container may lack.
    let certain = [
        Act::OpenAt,
        Act::OpenAt2,
        Act::OpenWrite,
        Act::Create,
        Act::CreateUnnamed,
        Act::Reopen,
        Act::ReopenWrite,
        Act::Truncate,
        Act::Unlink,
        Act::Mkdir,
        Act::Chmod,
        Act::Fchmod,
        Act::Futimens,
        Act::Dup,
        Act::SocketUnix,
        Act::SocketInet,
        Act::Socketpair,
        Act::Bind,
        Act::SendRights,
        Act::Pipe,
        Act::Execve,
        Act::Execveat,
        Act::Clone,
        Act::KillParent,
        Act::TgkillOwn,
        Act::PidfdOpen,
        Act::MapExec,
        Act::ProtectExec,
        Act::MapShared,
        Act::MapGrowing,
        Act::MapTooMuch,
        Act::MapAddresses,
        Act::Memfd,
        Act::MemfdExec,
        Act::Dumpable,
        Act::Keepcaps,
        Act::Setuid,
        Act::Setresuid,
        Act::Setgroups,
        Act::TimerCreate,
    ];
    let failed: Vec<&str> =
        certain.iter().filter(|act| !succeeded(act)).map(|act| act.name()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let count = found.iter().filter(|(act, _)| succeeded(act)).count();
    assert!(count * 2 > found.len(), "{count} of {}: {found:?}", found.len());
}

#[test]
fn a_fence_and_nothing_else_refuses_a_handle_to_who_may_read_everything() {
    require_root!();
    const READ_SEARCH: u64 = 1 << 2;
    let place = Place::new();
    let (mut reader, keep) = place.hold(Fence::Reader);
    let status = wait_until("a process behind the fence of root's opener", || {
        assert!(reader.ended_within(Duration::ZERO).is_none());
        proc::status(reader.pid()).filter(|status| status.cap_eff == READ_SEARCH)
    });
    assert!(!status.uids.contains(&0), "{status:?}");
    drop(keep);
    let output = reader.finish().expect_code(0);
    assert_eq!(output.text(), "hold\n");
    let refused = |fence: &str| place.probe(fence).arg(Act::OpenHandle.name()).output().text();
    let eperm = 64 + Errno::EPERM as i32;
    assert_eq!(refused(Fence::Reader.name()), format!("open_by_handle_at {eperm}\n"));
    assert_eq!(refused("none"), "open_by_handle_at 0\n");
}

#[test]
fn a_probe_that_makes_no_sense_tries_nothing() {
    let place = Place::new();
    for fence in ["worker", "inside", "", "nowhere"] {
        let output = place.probe(fence).arg("getpid").output();
        assert_eq!((output.code, output.text().as_str()), (Some(2), ""), "{output}");
    }
    let output = place.probe("none").arg("nothing").output();
    assert_eq!((output.code, output.text().as_str()), (Some(2), ""), "{output}");
}
