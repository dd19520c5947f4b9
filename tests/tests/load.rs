//! Many connections and many files: all outcomes right, and neither descriptors nor memory grow.

use std::path::Path;

use fdbroker_common::client::Target;
use fdbroker_common::client_link::ScanOptions;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{
    Caller, Env, Output, PATIENCE, Running, poll_until, proc, require_root, wait_until,
};

const MIB: u64 = 1024;

/// Descriptors of broker and dispatcher, but for those of their openers; none while something goes on.
fn descriptors_at_rest(env: &Env) -> Option<[usize; 2]> {
    let status = env.status();
    let busy = status.openers.iter().any(|opener| opener.busy) || status.workers_lent > 0;
    let openers = env.named("fdb-opener").len();
    if busy || openers != status.openers.len() || status.workers != status.workers_max {
        return None;
    }
    let count = |pid| proc::descriptor_count(pid).checked_sub(openers);
    Some([count(status.broker_pid)?, count(status.dispatcher_pid)?])
}

/// Waits until there are no more descriptors than before. The last worker of the last client ends a moment
/// after its client, and so does the connection that asks for the status.
fn assert_none_more(env: &Env, before: [usize; 2], when: &str) {
    let mut last = None;
    let settled = poll_until(when, PATIENCE, || {
        last = descriptors_at_rest(env).or(last);
        last.filter(|now| now[0] <= before[0] && now[1] <= before[1])
    });
    assert!(settled.is_ok(), "{settled:?}: {before:?} became {last:?}");
}

#[track_caller]
fn assert_right(output: &Output, found: bool) {
    let word = if found { "FOUND" } else { "OK" };
    assert_eq!(output.code, Some(i32::from(found)), "{output}");
    assert!(output.text().lines().next().is_some_and(|line| line.ends_with(word)), "{output}");
}

#[test]
fn hundreds_of_connections_leave_nothing_behind() {
    require_root!();
    let env = Env::start_spawned();
    let files = [env.file("clean", b"nothing"), env.file("eicar", EICAR)];
    let caller = |nth: usize| Caller::user([2000, 2001, 2002][nth % 3]);
    // The most of some looks, because a worker may still be on its way.
    assert_right(&env.fdscan(&caller(0), [&files[0]]), false);
    let looks = (0..20).map(|_| wait_until("rest", || descriptors_at_rest(&env)));
    let before = looks.fold([0, 0], |most, now| [most[0].max(now[0]), most[1].max(now[1])]);
    for round in 0..2 {
        let at_once: Vec<Running> = (0..50)
            .map(|nth| env.fdscan_program(&caller(nth)).arg(&files[nth % 2]).spawn())
            .collect();
        for (nth, running) in at_once.into_iter().enumerate() {
            assert_right(&running.finish(), nth % 2 == 1);
        }
        assert_none_more(&env, before, &format!("rest after 50 at once, round {round}"));
        for nth in 0..100 {
            assert_right(&env.fdscan(&caller(nth), [&files[nth % 2]]), nth % 2 == 1);
        }
        assert_none_more(&env, before, &format!("rest after 100 in a row, round {round}"));
    }
    assert_eq!(env.status().connections, 301);
    let openers = env.named("fdb-opener");
    assert!(openers.len() <= 50, "{openers:?}");
}

/// The most memory so far of broker, dispatcher and opener.
fn peaks(env: &Env) -> [u64; 3] {
    ["fdbroker", "fdb-dispatcher", "fdb-opener"].map(|name| {
        let pids = env.named(name);
        assert_eq!(pids.len(), 1, "{name}: {pids:?}");
        proc::status(pids[0]).map_or(0, |status| status.peak_kib)
    })
}

fn fill(directory: &Path, count: usize) {
    files::write(&directory.join("0"), b"small");
    for nth in 1..count {
        std::fs::write(directory.join(nth.to_string()), b"small").expect("write");
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    require_root!();
    let env = Env::start_spawned();
    let [few, many] = ["few", "many"].map(|name| env.dir().join(name));
    fill(&few, 2_000);
    fill(&many, 40_000);
    // One user, so one opener.
    let scan = |directory: &Path| {
        let output = env.fdscan(&Caller::root(), ["-i".as_ref(), directory]).expect_code(0);
        output.line("Clean:").expect("a summary")
    };
    assert_eq!(scan(&few), "Clean:      2000");
    let before = peaks(&env);
    assert_eq!(scan(&many), "Clean:      40000");
    let after = peaks(&env);
    println!(
        "peak KiB of broker, dispatcher, opener: {before:?} after 2,000, {after:?} after 40,000"
    );
    for (before, after) in before.into_iter().zip(after) {
        assert!(after <= before + MIB, "{before:?} KiB became {after:?}");
    }
}

#[test]
fn a_client_that_stays_without_a_scan_keeps_one_worker_and_no_others_come_and_go() {
    require_root!();
    let env = Env::build().broker_arg("--workers").broker_arg("2").start_spawned();
    let directory = env.dir().join("t");
    fill(&directory, 4_000);
    let connection = env.connect(&Caller::user(2000));
    let mut client = connection.client();
    let mut both = false;
    let mut scan = client.scan(ScanOptions::default(), std::iter::once(Target::open(&directory)));
    for (nth, event) in (&mut scan).enumerate() {
        event.expect("a scan");
        both = both || (nth % 200 == 0 && env.status().workers_lent == 2);
    }
    assert!(both, "never more than one worker");
    // None has come or gone for so many looks.
    let mut last = (Vec::new(), 0);
    let settled = poll_until("the same workers as before", PATIENCE, || {
        let workers = env.named("fdscand-worker");
        let same = workers == last.0 && env.status().workers_lent == 1;
        last = (workers, if same { last.1 + 1 } else { 0 });
        (last.1 == 10).then_some(())
    });
    assert!(settled.is_ok(), "{settled:?}: {:?}", env.status());
}
