//! Supervisors that lie.

use fdbroker_tests::require_root;

use crate::stage::each;
use crate::template::is_sent_away;

#[test]
fn a_supervisor_that_breaks_the_protocol_is_sent_away() {
    require_root!();
    let modes = [
        "supervisor:unasked",
        "supervisor:failed-storm",
        "supervisor:hello-storm",
        "supervisor:hello-descriptors-1",
        "supervisor:hello-descriptors-253",
        "supervisor:half",
        "supervisor:noise",
        "supervisor:pipe",
        "supervisor:itself",
        "supervisor:twice",
        "supervisor:without-descriptor",
        "supervisor:descriptors-2",
        "supervisor:descriptors-253",
    ];
    each(&modes, |stage| is_sent_away(stage, "scanner lost"));
}

#[test]
fn a_supervisor_that_starts_no_template_keeps_nobody_waiting_for_ever() {
    require_root!();
    each(&["supervisor:fails"], |stage| is_sent_away(stage, "rules refused"));
}
