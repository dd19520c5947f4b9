//! FUSE servers that do not answer a read: the worker hangs in the kernel, and killing it does not end it. The
//! file is an error, all others have their verdicts, and nobody is short of workers for it.

use fdbroker_tests::fuse::{Ask, Node, Table};
use fdbroker_tests::{Caller, PATIENCE, env, proc, require_root, skip};
use nix::sys::signal::Signal;

use crate::stage::{FOUND, NEEDLE, Outcomes, Stage, outcomes};

const TIMED_OUT: &str = "not finished after 1 s ERROR";

fn scan(stage: &Stage, path: &std::path::Path) -> fdbroker_tests::Running {
    let arguments = ["--no-summary", "--timeout", "1"];
    stage.env.fdscan_program(&Caller::user(2000)).args(arguments).arg(path).spawn()
}

/// A file that every reader asks the server for. With the page cache in between, a second reader would wait
/// for the first one, and could be killed.
fn mute() -> Table {
    vec![("mute", Node::Liar { contents: b"hay".into(), claims: 3, direct: true })]
}

/// Workers that hang in the kernel and cannot be ended.
fn stuck(stage: &Stage) -> Vec<u32> {
    let blocked = stage.env.processes().into_iter().filter(|entry| entry.state == 'D');
    let pids: Vec<u32> = blocked.map(|entry| entry.pid).collect();
    proc::named(&pids, "fdscand-worker")
}

#[test]
fn a_file_that_is_never_read_is_an_error_and_costs_one_worker() {
    require_root!();
    let stage = Stage::new();
    let fuse = match stage.fuse("t", mute()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Read, "mute");
    let output = scan(&stage, fuse.path()).finish_within(PATIENCE).expect_code(2);
    let all = Outcomes::from([("mute".into(), TIMED_OUT.into())]);
    assert_eq!(outcomes(&output, fuse.path()), all, "{output}");
    // It was alone with its worker, so there is no doubt; to try again would cost another one.
    assert_eq!(stuck(&stage).len(), 1);
    stage.is_served(2000);
    stage.is_served(2001);
    drop(fuse);
    stage.comes_to_rest();
}

#[test]
fn the_neighbours_of_a_file_that_is_never_read_have_their_verdicts() {
    require_root!();
    let stage = Stage::new();
    let names: Vec<String> = (0..100).map(|nth| format!("f{nth}")).collect();
    let mut table: Table = Vec::new();
    let mut all = Outcomes::new();
    for (nth, name) in names.iter().enumerate() {
        let (contents, outcome) = match nth {
            37 => (b"hay".to_vec(), TIMED_OUT),
            _ if nth % 10 == 3 => (NEEDLE.to_vec(), FOUND),
            _ => (b"hay".to_vec(), "OK"),
        };
        let claims = contents.len() as u64;
        // As long as the test program runs, which is not long.
        table.push((name.clone().leak(), Node::Liar { contents, claims, direct: true }));
        all.insert(name.clone(), outcome.to_owned());
    }
    let fuse = match stage.fuse("t", table) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Read, "f37");
    let fdscan = scan(&stage, fuse.path());
    fuse.wait_unanswered(1);
    stage.is_served(2001);
    let output = fdscan.finish_within(PATIENCE).expect_code(1);
    assert_eq!(outcomes(&output, fuse.path()), all, "{output}");
    // Once among others, once alone.
    let count = stuck(&stage).len();
    assert!((1..=2).contains(&count), "{count} workers hang");
    stage.is_served(2000);
    stage.is_served(2001);
    drop(fuse);
    stage.comes_to_rest();
}

#[test]
fn a_broker_ends_though_a_worker_hangs() {
    require_root!();
    let mut stage = Stage::new();
    let mut fuse = match stage.fuse("t", mute()) {
        Ok(fuse) => fuse,
        Err(reason) => skip!("{reason}"),
    };
    fuse.silence(Ask::Read, "mute");
    let fdscan = scan(&stage, fuse.path());
    fuse.wait_unanswered(1);
    let mut broker = stage.env.take_broker();
    broker.signal(Signal::SIGTERM);
    let status = broker.ended_within(PATIENCE).expect("the broker ends");
    assert!(status.success(), "{status}\n{}", broker.log());
    fuse.die();
    env::empty_group(broker.pid()).expect("the worker ends with the server");
    let output = fdscan.finish_within(PATIENCE);
    assert!(!output.text().contains(": OK"), "{output}");
    assert_ne!(output.code, Some(0), "{output}");
}
