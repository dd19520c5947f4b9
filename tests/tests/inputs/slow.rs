//! A file that keeps a worker busy beyond its deadline is an error of its own and nobody else's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fdbroker_tests::{Caller, skip};

use crate::stage::{NEEDLE, RULE, Stage, USERS, expected, outcomes};

/// Beginning of a file on which [`busy_rule`] spends its time.
pub const BUSY_MARK: &[u8] = b"BUSYBUSY, but harmless\n";

/// A rule that needs about so many steps for a marked file, and then finds nothing.
pub fn busy_rule(steps: u64) -> String {
    format!(
        "rule Busy {{ strings: $m = \"BUSYBUSY\" condition: $m at 0 and \
         for all i in (1..{steps}) : (uint8(i % 8) != 0) and filesize > 1000000000000 }}"
    )
}

/// One that never comes to an end.
fn endless_rule() -> String {
    busy_rule(1 << 60)
}

fn options(seconds: &str) -> [PathBuf; 2] {
    ["--timeout", seconds].map(PathBuf::from)
}

#[test]
fn a_file_that_takes_too_long_is_an_error_and_all_others_are_right() {
    let stage = Stage::with(&[("endless.yar", &endless_rule())]);
    let _ = stage.env.file("t/endless", BUSY_MARK);
    let _ = stage.env.file("t/sub/endless", BUSY_MARK);
    let mut all = vec![
        ("t/endless".to_owned(), "not finished after 2 s ERROR"),
        ("t/sub/endless".to_owned(), "not finished after 2 s ERROR"),
    ];
    for number in 0..300 {
        let found = number % 10 == 3;
        let name = format!("t/{number}");
        let _ = stage.env.file(&name, if found { NEEDLE } else { b"hay" });
        all.push((name, if found { "Needle FOUND" } else { "OK" }));
    }
    let begun = Instant::now();
    let output = stage.scan(options("2").iter().chain(&[stage.path("t")])).expect_code(1);
    let all: Vec<(&str, &str)> = all.iter().map(|(name, what)| (name.as_str(), *what)).collect();
    assert_eq!(stage.outcomes(&output), expected(&all), "{output}");
    // Twice the deadline for each: once beside others, once alone.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());

    let output = stage.scan(options("1").iter().chain(&[stage.path("t/endless")])).expect_code(2);
    assert_eq!(stage.outcomes(&output), expected(&[("t/endless", "not finished after 1 s ERROR")]));
    stage.others_are_served();
}

#[test]
fn others_are_served_while_somebody_keeps_workers_busy() {
    let stage = Stage::with(&[("endless.yar", &endless_rule())]);
    for number in 0..8 {
        let _ = stage.env.file(&format!("busy/{number}"), BUSY_MARK);
    }
    let greedy = stage.fdscan().args(options("5")).arg(stage.path("busy")).spawn();
    let bad = stage.env.file("t/found", NEEDLE);
    let good = stage.env.file("t/clean", b"hay");
    let other = if skip::is_root() { Caller::user(USERS[1]) } else { Caller::own() };
    fdbroker_tests::wait_until("workers are lent", || {
        (stage.env.status().workers_lent > 0).then_some(())
    });
    for _ in 0..3 {
        let begun = Instant::now();
        let output = stage.env.fdscan(&other, ["--no-summary".into(), bad.clone(), good.clone()]);
        let found = outcomes(&output.text(), &stage.path("t"));
        assert_eq!(found, expected(&[("found", "Needle FOUND"), ("clean", "OK")]), "{output}");
        // A recall takes effect after some seconds at most, whatever the other one's file does.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    drop(greedy);
    assert!(stage.env.status().workers_max > 0, "{RULE}");
}

#[test]
fn a_deadline_must_be_a_time() {
    let stage = Stage::new();
    for wrong in ["0", "x", "3601", ""] {
        let output = stage.scan(options(wrong).iter().chain(&[stage.path("t")])).expect_code(2);
        assert!(output.errors().contains("--timeout"), "{output}");
    }
}
