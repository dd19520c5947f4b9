//! Wherever a round is interrupted, and however often: the same counts, and each file told once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::outcome::{Change, Failure, SkipReason};

/// What lies beneath one target: paths, outcomes and sizes. One path that is empty is a file.
type Tree = Vec<Vec<(String, Outcome, u64)>>;

fn found() -> Outcome {
    Outcome::Match { rules: vec!["A".to_owned()] }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Clean),
        2 => Just(found()),
        1 => Just(Outcome::Unstable(Change::Modified)),
        1 => Just(Outcome::Denied),
        1 => Just(Outcome::Skipped(SkipReason::Fifo)),
        1 => Just(Outcome::Error(Failure::Engine)),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let file = outcome().prop_map(|outcome| vec![(String::new(), outcome, 7)]);
    let directory = vec(outcome(), 0..12).prop_map(|outcomes| {
        let named = (0..).zip(outcomes);
        named.map(|(nth, outcome): (u64, _)| (format!("d/{nth}"), outcome, nth)).collect()
    });
    vec(prop_oneof![file, directory], 0..6)
}

/// Bytes that are read for a file with this outcome.
fn read(outcome: &Outcome, size: u64) -> u64 {
    if matches!(outcome, Outcome::Clean | Outcome::Match { .. }) { size } else { 0 }
}

/// All reports that an opener makes of these targets, and its totals.
fn whole_pass(tree: &Tree, ids: &[u32]) -> (Vec<WireReport>, Totals) {
    let mut totals = Totals::default();
    let mut reports = Vec::new();
    for id in ids {
        for (path, outcome, size) in &tree[*id as usize] {
            totals.add(outcome, read(outcome, *size));
            let (target, path) = (*id, path.as_bytes().to_vec().into());
            reports.push(WireReport { target, path, size: *size, outcome: outcome.clone() });
        }
    }
    (reports, totals)
}

/// A round with all the targets of a tree.
fn round(tree: &Tree, omit_clean: bool) -> Round {
    let mut round = Round::new(omit_clean, true);
    for nth in 0..tree.len() as u64 {
        round.add(nth, format!("t{nth}").as_bytes(), Origin::Path).unwrap();
    }
    round
}

fn shuffled(mut reports: Vec<WireReport>, order: &[Index]) -> Vec<WireReport> {
    for nth in (1..reports.len()).rev() {
        let other = order[nth % order.len()].index(nth + 1);
        reports.swap(nth, other);
    }
    reports
}

/// Hears the first reports of a pass, and counts each that is told.
fn hear(round: &mut Round, reports: Vec<WireReport>, told: &mut BTreeMap<PathBuf, usize>) {
    round.accept();
    for report in reports {
        if let Some(report) = round.report(report).unwrap() {
            *told.entry(report.path).or_default() += 1;
        }
    }
}

proptest! {
    #[test]
    fn wherever_it_is_interrupted_the_counts_are_the_same_and_each_file_is_told_once(
        tree in tree(),
        omit_clean: bool,
        cuts in vec(any::<Index>(), 0..4),
        order in vec(any::<Index>(), 40),
    ) {
        let mut round = round(&tree, omit_clean);
        let mut ids: Vec<u32> = (0..).take(tree.len()).collect();
        let (_, uninterrupted) = whole_pass(&tree, &ids);
        let mut told = BTreeMap::new();
        for cut in cuts {
            let (mut reports, _) = whole_pass(&tree, &ids);
            reports.retain(|report| !omit_clean || report.outcome != Outcome::Clean);
            let mut reports = shuffled(reports, &order);
            reports.truncate(cut.index(reports.len() + 1));
            hear(&mut round, reports, &mut told);
            ids = round.rewind().unwrap().into();
        }
        let (mut reports, totals) = whole_pass(&tree, &ids);
        reports.retain(|report| !omit_clean || report.outcome != Outcome::Clean);
        hear(&mut round, shuffled(reports, &order), &mut told);
        round.ended = true;
        prop_assert_eq!(round.done(&totals).unwrap(), uninterrupted);
        prop_assert!(told.values().all(|times| *times == 1), "{:?}", told);
        let files = tree.iter().flatten();
        let to_be_told = files.filter(|file| !omit_clean || file.1 != Outcome::Clean).count();
        prop_assert_eq!(told.len(), to_be_told);
    }
}

fn one(outcome: Outcome) -> Vec<WireReport> {
    let path = b"x".to_vec().into();
    vec![WireReport { target: 0, path, size: 1, outcome }]
}

/// Tells one outcome in a first pass and another in a second: what was told, and the counts.
fn twice(omit_clean: bool, first: Outcome, second: Outcome) -> (usize, Totals) {
    let tree = vec![vec![(String::from("x"), second.clone(), 0)]];
    let mut round = round(&tree, omit_clean);
    let mut told = BTreeMap::new();
    hear(&mut round, one(first), &mut told);
    let ids: Vec<u32> = round.rewind().unwrap().into();
    let (mut reports, totals) = whole_pass(&tree, &ids);
    reports.retain(|report| !omit_clean || report.outcome != Outcome::Clean);
    hear(&mut round, reports, &mut told);
    round.ended = true;
    (told.values().sum(), round.done(&totals).unwrap())
}

#[test]
fn what_turns_out_to_match_is_told_again_and_counted_once() {
    let expected = Totals { matched: 1, ..Totals::default() };
    assert_eq!(twice(false, Outcome::Clean, found()), (2, expected));
    assert_eq!(twice(true, Outcome::Denied, found()), (2, expected));
}

#[test]
fn a_match_stays_one_and_any_other_change_is_not_told() {
    let matched = Totals { matched: 1, ..Totals::default() };
    assert_eq!(twice(false, found(), Outcome::Clean), (1, matched));
    assert_eq!(twice(true, found(), Outcome::Clean), (1, matched));
    let denied = Totals { denied: 1, ..Totals::default() };
    assert_eq!(twice(false, Outcome::Denied, Outcome::Clean), (1, denied));
    assert_eq!(twice(true, Outcome::Denied, Outcome::Clean), (1, denied));
}

#[test]
fn a_match_whose_target_is_gone_stays_one() {
    let tree = vec![Vec::new()];
    let mut round = round(&tree, true);
    let mut told = BTreeMap::new();
    hear(&mut round, one(found()), &mut told);
    let ids = round.rewind().unwrap();
    assert_eq!(ids, [0]);
    // Its name is `t0`, which is not there.
    let report = round.reopen(0).unwrap_err().expect("told");
    assert_eq!(report.outcome.word(), "error");
    round.accept();
    round.ended = true;
    let totals = round.done(&Totals::default()).unwrap();
    assert_eq!((totals.matched, totals.errors, totals.clean), (1, 1, 0));
    // Told once, whatever happens next.
    assert_eq!(round.rewind().unwrap(), []);
}

#[test]
fn totals_are_checked_against_the_reports_of_the_last_pass() {
    let tree = vec![vec![(String::from("x"), Outcome::Clean, 0)]];
    let mut round = round(&tree, false);
    hear(&mut round, one(Outcome::Clean), &mut BTreeMap::new());
    let _ = round.rewind().unwrap();
    round.accept();
    round.ended = true;
    assert!(round.done(&Totals { clean: 1, ..Totals::default() }).is_err());
    assert!(round.done(&Totals::default()).is_ok());
}

#[test]
fn a_target_that_cannot_be_had_again_is_told_unless_it_was_finished() {
    let mut round = Round::new(false, true);
    let id = round.add(0, b"memory", Origin::Gone).unwrap();
    round.accept();
    assert!(round.rewind().is_err());
    round.accept();
    let report =
        WireReport { target: id, path: Vec::new().into(), size: 3, outcome: Outcome::Clean };
    assert!(round.report(report).unwrap().is_some());
    assert_eq!(round.rewind().unwrap(), []);
}
