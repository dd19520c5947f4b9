//! Workers that lie.

use fdbroker_tests::{Caller, require_root};

use crate::stage::{Stage, each};

#[test]
fn an_honest_double_is_served_like_a_scanner() {
    require_root!();
    let stage = Stage::new("honest");
    let captured = stage.captured();
    for output in Stage::finish(stage.scans(&[])) {
        stage.assert_right(&output);
    }
    stage.assert_recovers(captured);
}

#[test]
fn descriptors_that_come_with_answers_change_nothing_and_do_not_stay() {
    require_root!();
    let modes = ["worker:descriptors-1", "worker:descriptors-2", "worker:descriptors-253"];
    each(&modes, |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_right(&output);
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn a_worker_that_answers_what_it_was_not_asked_is_believed_in_nothing_after_it() {
    require_root!();
    let modes = [
        "worker:twice",
        "worker:backwards",
        "worker:more-answers",
        "worker:closes",
        "worker:flood",
        "worker:answers-unasked",
    ];
    each(&modes, |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_right_or_error(&output);
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn a_worker_that_never_answers_rightly_makes_no_file_clean() {
    require_root!();
    let modes = [
        "worker:foreign-job",
        "worker:unknown-job",
        "worker:reads-less",
        "worker:reads-more",
        "worker:no-such-rule",
        "worker:unsorted-rules",
        "worker:half",
        "worker:closes-first",
        "worker:not-ready",
        "worker:ready-twice",
        "worker:wrong-generation",
        "worker:flood-of-ready",
        "worker:noise",
    ];
    each(&modes, |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_errors(&output);
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn a_worker_that_never_answers_is_ended_at_the_deadline() {
    require_root!();
    let stage = Stage::new("worker:silent");
    let captured = stage.captured();
    let files = ["0", "3"].map(|name| stage.tree().join(name));
    let program = stage.env.fdscan_program(&Caller::user(2000)).args(["--timeout", "1"]);
    let output = program.arg("--no-summary").args(&files).output().expect_code(2);
    for line in output.text().lines() {
        assert!(line.ends_with(": not finished after 1 s ERROR"), "{output}");
    }
    assert_eq!(output.text().lines().count(), files.len(), "{output}");
    stage.assert_recovers(captured);
}
