//! Templates that lie.

use fdbroker_tests::{Running, require_root};

use crate::stage::{Stage, each};

/// Scans that wait while the scanner is sent away are served by the next one, or told that there is none.
pub fn is_sent_away(stage: Stage, why: &str) {
    let scans = stage.scans(&[]);
    let times = stage.env.broker().log().matches(why).count() + 1;
    let captured = stage.captured_at_once();
    stage.env.broker().wait_for_times(why, times);
    stage.end(captured);
    let honest = stage.double("honest");
    for output in scans.into_iter().map(Running::finish) {
        if output.errors().is_empty() {
            stage.assert_right_or_error(&output);
        } else {
            stage.assert_refused(&output);
        }
    }
    stage.assert_recovers(honest);
}

#[test]
fn a_worker_that_is_no_connection_of_the_scanner_ends_its_template() {
    require_root!();
    let modes = [
        "template:pipe",
        "template:file",
        "template:datagram",
        "template:own-client",
        "template:foreign-socket",
    ];
    each(&modes, |stage| is_sent_away(stage, "no connection of the scanner"));
}

#[test]
fn a_template_that_breaks_the_protocol_is_ended() {
    require_root!();
    let modes = [
        "template:unknown-worker",
        "template:worker-twice",
        "template:rejects-late",
        "template:without-descriptor",
        "template:descriptors-2",
        "template:descriptors-253",
        "template:ready-twice",
    ];
    each(&modes, |stage| is_sent_away(stage, "the scanner's template ended"));
}

#[test]
fn a_template_that_is_never_ready_is_ended() {
    require_root!();
    let modes = [
        "template:worker-before-ready",
        "template:ready-without-table",
        "template:ready-descriptors-2",
        "template:ready-descriptors-253",
        "template:noise",
        "template:closes",
    ];
    each(&modes, |stage| is_sent_away(stage, "rules refused: the template ended"));
}

#[test]
fn a_table_of_names_that_can_still_change_is_refused() {
    require_root!();
    let modes = [
        "template:unsealed-table",
        "template:writable-table",
        "template:growing-table",
        "template:huge-table",
        "template:table-is-a-file",
        "template:table-is-a-pipe",
    ];
    each(&modes, |stage| is_sent_away(stage, "rules refused: the template ended: "));
}

#[test]
fn a_table_of_names_that_is_none_costs_the_scan_and_not_the_opener() {
    require_root!();
    each(&["template:malformed-table", "template:more-rules"], |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_refused(&output);
        }
        stage.assert_recovers(captured);
    });
}

#[test]
fn false_names_end_with_the_template_that_told_them() {
    require_root!();
    // The double calls its rules always by the same generation.
    let stage = Stage::new("template:false-names");
    let captured = stage.captured();
    for output in Stage::finish(stage.scans(&[])) {
        let outcomes = stage.outcomes(&output);
        assert_eq!(outcomes[&3], "False_Name FOUND", "{output}");
    }
    stage.assert_recovers(captured);
}

#[test]
fn a_template_that_lies_about_ends_of_workers_makes_no_file_clean() {
    require_root!();
    each(&["template:foreign-exits", "template:ignores-kill"], |stage| {
        let captured = stage.captured();
        for output in Stage::finish(stage.scans(&[])) {
            stage.assert_right(&output);
        }
        stage.assert_recovers(captured);
    });
    // It takes those for ended that have yet to be forked.
    each(&["template:sibling-exits"], |stage| is_sent_away(stage, "was not asked for"));
}

#[test]
fn a_template_whose_workers_end_before_they_are_lent_is_ended() {
    require_root!();
    each(&["template:exits-at-once"], |stage| {
        is_sent_away(stage, "its workers end before they are lent");
    });
}
