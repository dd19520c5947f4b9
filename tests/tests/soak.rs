//! A short soak; `make soak` has a long one.

use std::time::Duration;

use fdbroker_tests::require_root;
use fdbroker_tests::soak::{Plan, run};

#[test]
fn everything_at_once_gives_right_verdicts_and_leaves_nothing_behind() {
    require_root!();
    let report = run(&Plan::new(Duration::from_secs(6), 1));
    print!("{}", report.unwrap_or_else(|reason| panic!("{reason}")));
}
