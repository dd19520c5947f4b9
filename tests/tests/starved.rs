//! Workers and templates that have almost no descriptors left, because somebody with their user id took the
//! room away: no file is lost, none is blamed, and none is called clean that was not read.

use std::collections::BTreeMap;
use std::thread;

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, limit, require_root, require_tool};

const FILES: usize = 500;
const BAD: [usize; 4] = [7, 123, 300, 499];

/// Whose room is taken.
#[derive(Debug, Clone, Copy)]
enum Starved {
    /// The workers that are there, not those that come after them.
    Workers,
    /// These, the template, and so the workers that it makes.
    Template,
}

/// Scans a tree with processes that may have so many descriptors; each file must have its right outcome.
fn scan(starved: Starved, limit: usize) {
    let env = Env::build().broker_arg("--workers").broker_arg("2").start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, FILES, b"nothing\n");
    for bad in BAD {
        files::write(&tree.join(format!("0/{bad}")), EICAR);
    }
    let mut pids = env.named("fdscand-worker");
    if let Starved::Template = starved {
        pids.extend(env.named("fdscand-templat"));
    }
    assert!(!pids.is_empty());
    for pid in pids {
        limit::descriptors_for_good(&Caller::nobody(), pid, limit);
    }
    let program = env.fdscan_program(&Caller::user(2000)).arg("--no-summary").arg(&tree);
    let output = program.output();
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for line in output.text().lines() {
        let outcome = line.rsplit_once(": ").expect("an outcome").1;
        *found.entry(outcome.to_owned()).or_default() += 1;
    }
    let right = [("EICAR_Test_File FOUND", BAD.len()), ("OK", FILES - BAD.len())];
    let right = right.map(|(outcome, count)| (outcome.to_owned(), count));
    assert_eq!(found, BTreeMap::from(right), "{starved:?}, {limit} descriptors\n{}", env.log());
    assert_eq!((output.code, output.errors().as_str()), (Some(1), ""));
    // Somebody did starve.
    assert!(env.log().contains("descriptors were lost"), "{starved:?}, {limit}\n{}", env.log());
}

fn scan_each(starved: Starved, limits: &[usize]) {
    thread::scope(|scope| {
        for limit in limits {
            scope.spawn(|| scan(starved, *limit));
        }
    });
}

#[test]
fn a_worker_at_its_descriptor_limit_costs_no_file_its_outcome() {
    require_root!();
    require_tool!("prlimit");
    // It holds four when it is idle.
    scan_each(Starved::Workers, &[4, 5, 6, 10, 20]);
}

#[test]
fn a_template_at_its_descriptor_limit_makes_workers_with_little_room_or_is_replaced() {
    require_root!();
    require_tool!("prlimit");
    // With eight it can make no worker at all.
    scan_each(Starved::Template, &[4, 8, 10, 20]);
}
