//! Limits of a user, on openers of every kind: how many connections and open files, how much, how long.

use std::path::PathBuf;

use fdbroker_common::client::{Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Limit, Outcome};
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, proc, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{FOUND, Stage, expected, is_served, reports};

fn signal(pid: u32, signal: Signal) {
    // One that has ended meanwhile needs none.
    let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal);
}

#[test]
fn a_file_beyond_the_limit_of_its_reader_is_not_read_whatever_the_client_asks() {
    require_root!();
    let stage = Stage::with(
        "[[limit]]\nusers = [2000]\nfile_bytes_max = 100\n\
         [[limit]]\ngroups = [2000, 3000]\nfile_bytes_max = 1000\n\
         [[grant]]\nusers = [2000]\ntrees = [\"DIR/tree\"]\n",
    );
    let mut large = EICAR.to_vec();
    large.resize(101, b' ');
    let paths = [stage.path("tree/small"), stage.path("tree/large")];
    files::write(&paths[0], EICAR);
    files::write(&paths[1], &large);
    let options = [PathBuf::from("--max-filesize"), PathBuf::from("1G")];
    let asked: Vec<PathBuf> = options.iter().chain(&paths).cloned().collect();
    let beyond = "size limit, 0 of 101 bytes read INCOMPLETE";
    let bounded = expected(&[("tree/small", FOUND), ("tree/large", beyond)]);
    let free = expected(&[("tree/small", FOUND), ("tree/large", FOUND)]);
    let user = Caller::user(2000);
    for output in [stage.fdscan(&user, &asked), stage.granted(&user, &asked)] {
        assert_eq!(stage.outcomes(&output), bounded, "{output}");
    }
    // Those of the second entry, and those of none.
    for caller in [Caller::user(2001).group(3000), Caller::user(2001), Caller::root()] {
        let output = stage.fdscan(&caller, &asked);
        assert_eq!(stage.outcomes(&output), free, "{caller:?}: {output}");
    }
    // The client's own wish counts if it is less.
    let less: Vec<PathBuf> =
        ["--max-filesize".into(), "50".into()].into_iter().chain(paths).collect();
    let output = stage.fdscan(&user, &less);
    assert!(output.text().contains("0 of 68 bytes read INCOMPLETE"), "{output}");
}

#[test]
fn files_of_one_scan_hold_no_more_together_and_the_next_scan_begins_anew() {
    require_root!();
    let stage = Stage::with("[[limit]]\nusers = [2000]\nscan_bytes = 25\n");
    let path = |nth: usize| stage.path(&format!("tree/{nth}"));
    (0..4).for_each(|nth| files::write(&path(nth), &vec![b'.'; if nth == 2 { 3 } else { 10 }]));
    let connection = stage.env.connect(&Caller::user(2000));
    let mut client = connection.client();
    for _ in 0..2 {
        let targets = (0..4).map(|nth| Target::open(&path(nth))).collect();
        let mut told = reports(&mut client, ScanOptions::default(), targets);
        told.sort_by_key(|report| report.target);
        let outcomes: Vec<Outcome> = told.into_iter().map(|report| report.outcome).collect();
        let beyond = Outcome::Incomplete { limit: Limit::ScanSize, read: 0, total: 10 };
        assert_eq!(outcomes, [Outcome::Clean, Outcome::Clean, Outcome::Clean, beyond]);
    }
    let paths: Vec<PathBuf> = (0..4).map(path).collect();
    let output = stage.fdscan(&Caller::user(2000), &paths).expect_code(2);
    let line = "limit of the whole scan, 0 of 10 bytes read INCOMPLETE";
    assert!(output.text().contains(line), "{output}");
    let _ = stage.fdscan(&Caller::user(2001), &paths).expect_code(0);
}

#[test]
fn no_more_files_are_open_for_workers_than_the_limit_says() {
    require_root!();
    let stage = Stage::with("[[limit]]\nusers = [2000]\nfiles_in_flight = 3\n");
    let tree = stage.path("tree");
    files::many(&tree, 300, b"nothing");
    // A worker that is stopped answers nothing, so that as much is open as may be.
    let workers = wait_until("workers", || {
        let workers = stage.env.named("fdscand-worker");
        (workers.len() >= stage.env.status().workers_max as usize).then_some(workers)
    });
    workers.iter().for_each(|worker| signal(*worker, Signal::SIGSTOP));
    let connection = stage.env.connect(&Caller::user(2000));
    let mut client = connection.client();
    let mut scan = client.scan(ScanOptions::default(), std::iter::once(Target::open(&tree)));
    let mut next = || scan.next().expect("no end").expect("no error");
    assert!(matches!(next(), Event::Accepted(_)));
    let [opener] = stage.env.named("fdb-opener")[..] else {
        panic!("{:?}", stage.env.status());
    };
    let is_file = |open: &(u32, PathBuf)| open.1.starts_with(&tree) && open.1.is_file();
    let files = || proc::descriptors(opener).into_iter().filter(is_file).count();
    wait_until("files are open", || (files() == 3).then_some(()));
    // Each event is a second of silence: the opener has done what it can.
    for _ in 0..2 {
        assert!(matches!(next(), Event::Progress(totals) if totals.clean == 0));
        assert_eq!(files(), 3);
    }
    workers.iter().for_each(|worker| signal(*worker, Signal::SIGCONT));
    let mut pauses = 0;
    for event in &mut scan {
        match event.expect("no error") {
            Event::Report(report) => assert_eq!(report.outcome, Outcome::Clean),
            Event::Progress(_) => pauses += 1,
            _ => {}
        }
    }
    // As few as they are, they do not wait for more.
    assert!(pauses < 20, "{pauses} seconds without a report");
    assert_eq!(scan.totals().clean, 300);
}

#[test]
fn a_file_may_take_no_longer_than_the_limit_says() {
    require_root!();
    let stage = Stage::faulty("[[limit]]\nusers = [2000]\nfile_deadline_s = 1\n");
    let path = stage.path("tree/slow");
    files::write(&path, b"FDBROKER-FAULT:sleep\n");
    let options = ["--timeout".into(), "600".into(), path];
    let output = stage.fdscan(&Caller::user(2000), &options).expect_code(2);
    let told = expected(&[("tree/slow", "not finished after 1 s ERROR")]);
    assert_eq!(stage.outcomes(&output), told, "{output}");
}

#[test]
fn further_connections_of_a_user_wait_for_those_that_are_served() {
    require_root!();
    let stage = Stage::with(
        "[[limit]]\nusers = [2000]\nconnections = 2\n\
         [[grant]]\nusers = [2000]\ntrees = [\"DIR/tree\"]\n",
    );
    let path = stage.path("tree/file");
    files::write(&path, EICAR);
    let user = Caller::user(2000);
    // Both sockets count together.
    let mut first = stage.env.feed(&user);
    first.scan(&path, FOUND);
    let second = stage.connect(&user);
    let mut client = second.client();
    let _ = reports(&mut client, ScanOptions::default(), vec![Target::granted(&path)]);
    let openers = || stage.env.status().openers.iter().filter(|one| one.caller_uid == 2000).count();
    let third = stage.env.fdscan_program(&user).arg("--no-summary").arg(&path).spawn();
    // It has connected and waits: the broker holds the connection, and others are served meanwhile.
    let before = proc::descriptor_count(stage.env.broker().pid());
    is_served(&stage, &Caller::user(2001));
    is_served(&stage, &Caller::root());
    assert!(before > 0 && openers() == 2, "{:?}", stage.env.status());
    assert_eq!(third.text(), "", "it was served");
    assert_eq!(first.finish().code, Some(1));
    let output = third.finish().expect_code(1);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/file", FOUND)]), "{output}");
}
