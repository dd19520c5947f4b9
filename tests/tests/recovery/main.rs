//! What happens when a process is killed in the middle: right outcomes or a clear error within a bounded
//! time, never a false "clean", and service afterwards.

mod broker;

use std::time::{Duration, Instant};

use fdbroker_common::limits::SCANNER_WAIT;
use fdbroker_common::paths;
use fdbroker_tests::env::empty_group;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, Feed, proc, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const FOUND: &str = "EICAR_Test_File FOUND";

/// How long an answer may take when there is no scanner: the wait itself, and a busy machine.
const BOUND: Duration = SCANNER_WAIT.saturating_add(Duration::from_secs(20));

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("kill");
}

/// Kills processes of this name, and says which.
#[track_caller]
fn kill_named(env: &Env, name: &str) -> Vec<u32> {
    let pids = env.named(name);
    assert!(!pids.is_empty(), "no {name}:\n{}", env.log());
    for pid in &pids {
        // A child of one that was just killed may be gone already.
        let _ = kill(Pid::from_raw(i32::try_from(*pid).expect("a pid")), Signal::SIGKILL);
    }
    wait_until("they are gone", || pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    pids
}

/// A scan that has one file behind it, and does not wait long for a broker.
fn begun(env: &Env) -> Feed {
    let fdscan = env.fdscan_program(&Caller::user(2000)).args(["--timeout", "3"]);
    let mut feed = Feed::start(fdscan);
    feed.scan(&env.file("first", EICAR), FOUND);
    feed
}

/// Kills processes in the middle of a scan; the scan must go on as if nothing had happened.
#[track_caller]
fn survives(env: &Env, killed: &str) {
    let mut feed = begun(env);
    kill_named(env, killed);
    feed.scan(&env.file("clean", b"nothing"), "OK");
    feed.scan(&env.file("second", EICAR), FOUND);
    let output = feed.finish();
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(output.line("Matches:").as_deref(), Some("Matches:    2"), "{output}");
}

#[test]
fn a_scan_survives_the_end_of_its_worker() {
    require_root!();
    let env = Env::start_spawned();
    survives(&env, "fdscand-worker");
    survives(&env, "fdscand-worker");
}

#[test]
fn a_scan_survives_the_end_of_the_template() {
    require_root!();
    let env = Env::start_spawned();
    survives(&env, "fdscand-templat");
    survives(&env, "fdscand-templat");
}

#[test]
fn a_scan_survives_the_end_of_a_scanner_that_the_broker_started() {
    require_root!();
    let env = Env::start_spawned();
    survives(&env, "fdscand");
    assert!(env.broker().log().contains("scanner lost"), "{}", env.log());
    survives(&env, "fdscand");
}

#[test]
fn a_file_in_hand_of_a_killed_worker_is_scanned_by_another() {
    require_root!();
    let env = Env::build().broker_arg("--workers").broker_arg("1").start_spawned();
    // The only one there is will be lent, and another one forked.
    let worker = wait_until("one worker", || match env.named("fdscand-worker")[..] {
        [worker] => Some(worker),
        _ => None,
    });
    let mut feed = begun(&env);
    signal(worker, Signal::SIGSTOP);
    // It is passed to a worker that does not run.
    let path = env.file("second", EICAR);
    feed.give(&path);
    let opener = env.named("fdb-opener");
    wait_until("the opener has opened the file for it", || {
        let open = opener.iter().flat_map(|pid| proc::descriptors(*pid));
        open.map(|(_, open)| open).find(|open| *open == path)
    });
    signal(worker, Signal::SIGKILL);
    let line = format!("{}: {FOUND}\n", path.display());
    feed.running().wait_for_output(&line);
    assert_eq!(feed.finish().code, Some(1));
}

#[test]
fn a_scan_without_scanner_ends_with_a_clear_error_and_works_again_later() {
    require_root!();
    let mut env = Env::start_separate();
    let mut feed = begun(&env);
    let mut scanner = env.take_scanner();
    let since = Instant::now();
    scanner.signal(Signal::SIGKILL);
    assert!(scanner.ended_within(BOUND).is_some());
    // Its template and workers do not outlive it.
    empty_group(scanner.pid()).expect("nothing is left of it");
    env.broker().wait_for("scanner lost");
    feed.give(&env.file("second", EICAR));
    let output = feed.finish_within(BOUND);
    assert!(since.elapsed() < BOUND, "{:?}", since.elapsed());
    // What was found before stays found; what was not scanned is not called clean.
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.errors().contains("no scanner"), "{output}");
    assert!(!output.text().contains(": OK"), "{output}");

    let clean = env.file("clean", b"nothing");
    let output = env.fdscan(&Caller::user(2000), [&clean]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.errors().contains("no scanner"), "{output}");
    assert_eq!(env.ctl(["status"]).code, Some(0));

    env.start_scanner();
    env.broker().wait_for_times("scanner ready", 2);
    let output = env.fdscan(&Caller::user(2000), [&clean]).expect_code(0);
    assert!(output.text().contains(": OK"), "{output}");
}

#[test]
fn a_scan_waits_for_a_scanner_that_comes_back_in_time() {
    require_root!();
    let mut env = Env::start_separate();
    let mut feed = begun(&env);
    let mut scanner = env.take_scanner();
    scanner.signal(Signal::SIGTERM);
    assert!(scanner.ended_within(BOUND).is_some());
    env.broker().wait_for("scanner lost");
    env.start_scanner();
    feed.scan(&env.file("second", EICAR), FOUND);
    assert_eq!(feed.finish().code, Some(1));
}

#[test]
fn a_broker_that_never_had_a_scanner_is_told_so() {
    require_root!();
    let mut env = Env::build().idle();
    env.start_broker();
    let socket = env.runtime().join(paths::SCANNER_SOCKET);
    wait_until("scanner.sock", || proc::is_listening(&socket).then_some(()));
    let clean = env.file("clean", b"nothing");
    let program = env.fdscan_program(&Caller::user(2000)).arg(&clean).spawn();
    let output = program.finish_within(BOUND);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.errors().contains("has no scanner yet"), "{output}");
    assert!(!output.text().contains(": OK"), "{output}");
    // The socket comes with the scanner.
    assert!(!env.client_socket().exists());
    env.start_scanner();
    env.wait_serving();
    assert_eq!(env.fdscan(&Caller::user(2000), [&clean]).code, Some(0));
}

#[test]
fn a_killed_client_frees_its_workers() {
    require_root!();
    let env = Env::start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, 5000, &[b'x'; 4096]);
    let caller = Caller::user(2000);
    for _ in 0..3 {
        let mut feed = env.feed(&caller);
        feed.give(&tree);
        feed.running().wait_for_output(": OK\n");
        feed.end_by(Signal::SIGKILL);
        wait_until("no worker is lent", || {
            let status = env.status();
            let idle = status.openers.iter().all(|opener| !opener.busy && opener.workers == 0);
            (status.workers_lent == 0 && idle).then_some(())
        });
    }
    let output = env.fdscan(&caller, ["-i".as_ref(), tree.as_path()]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(output.line("Clean:").as_deref(), Some("Clean:      5000"), "{output}");
    // The opener of the killed clients served the next one.
    assert_eq!(env.named("fdb-opener").len(), 1, "{}", env.log());
}

#[test]
fn a_killed_opener_costs_its_client_a_moment_and_nobody_else_anything() {
    require_root!();
    let env = Env::start_spawned();
    let mut other = env.feed(&Caller::user(2001));
    other.scan(&env.file("first", EICAR), FOUND);
    let of_other = env.named("fdb-opener");
    let mut feed = begun(&env);
    let opener: Vec<u32> =
        env.named("fdb-opener").into_iter().filter(|pid| !of_other.contains(pid)).collect();
    assert_eq!(opener.len(), 1);
    signal(opener[0], Signal::SIGKILL);
    feed.running().wait_for("fdscan: resumed");
    feed.scan(&env.file("second", EICAR), FOUND);
    let output = feed.finish().expect_code(1);
    // What was told before is not told again, and counts.
    assert_eq!(output.text().matches("/first: ").count(), 1, "{output}");
    assert_eq!(output.line("Matches:").as_deref(), Some("Matches:    2"), "{output}");
    other.scan(&env.file("second", EICAR), FOUND);
    assert_eq!(other.finish().code, Some(1));
    assert_eq!(env.fdscan(&Caller::user(2000), [env.file("clean", b"")]).code, Some(0));
}

#[test]
fn a_template_that_is_lost_while_rules_are_bad_comes_back_soon_after_they_are_mended() {
    require_root!();
    let env = Env::build().rule("one.yar", "rule one { condition: false }").start_spawned();
    env.write_rule("bad.yar", "rule bad {");
    kill_named(&env, "fdscand-templat");
    wait_until("they are refused", || env.log().contains("rules refused").then_some(()));
    std::fs::remove_file(env.rules().expect("rules").join("bad.yar")).expect("mend");
    let mended = Instant::now();
    let eicar = env.file("eicar", EICAR);
    wait_until("scans are served", || {
        (env.fdscan(&Caller::user(2000), [&eicar]).code == Some(1)).then_some(())
    });
    // Not after the longest wait there is, of 30 seconds.
    assert!(mended.elapsed() < Duration::from_secs(20), "{:?}", mended.elapsed());
}
