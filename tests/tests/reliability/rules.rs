//! The rule reader: a process that lives only while rules are read.

use std::fs;
use std::time::{Duration, Instant};

use fdbroker_tests::{Env, proc, require_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, kill_one};

fn rule_reader(env: &Env) -> Option<i32> {
    let is_reader = |pid: &u32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        title.starts_with(b"fdbroker: rule reader")
    };
    let children = proc::descendants(env.broker().pid());
    children.into_iter().find(is_reader).and_then(|pid| i32::try_from(pid).ok())
}

#[test]
fn a_killed_rule_reader_fails_the_reload_and_the_old_rules_serve_on() {
    require_root!();
    let stage = Stage::spawned();
    // So many that reading them takes a while.
    for nth in 0..3000 {
        stage.env.write_rule(&format!("{nth}.yar"), "// nothing");
    }
    let before = stage.at_rest();
    let scan = stage.begin(2000);
    let mut refused = false;
    let begun = Instant::now();
    while !refused {
        assert!(begun.elapsed() < Duration::from_secs(60), "no rule reader was met");
        std::thread::scope(|scope| {
            let reload = scope.spawn(|| stage.env.ctl(["reload"]));
            while !reload.is_finished() {
                if let Some(reader) = rule_reader(&stage.env) {
                    let _ = kill(Pid::from_raw(reader), Signal::SIGKILL);
                }
            }
            let output = reload.join().expect("it answers");
            let said = format!("{}{}", output.text(), output.errors());
            // It may have sent everything before it was met.
            refused = output.code == Some(1);
            assert!(!refused || said.contains("the rule reader ended"), "{output}");
        });
        if !refused {
            let _ = stage.env.ctl(["reload"]);
        }
    }
    let _ = stage.ends_right(scan);
    let _ = stage.ends_right(stage.begin(2001));
    // The old ones, or those that were read when the reader was missed.
    assert!(stage.env.status().generation.is_some());
    stage.settles_at(before);
    assert_eq!(stage.env.ctl(["reload"]).expect_code(0).code, Some(0));
}

#[test]
fn a_template_that_is_lost_after_a_refused_reload_is_replaced_at_once() {
    require_root!();
    let stage = Stage::spawned();
    stage.env.write_rule("bad.yar", "rule Bad { condition: nonsense }");
    assert_eq!(stage.env.ctl(["reload"]).code, Some(1));
    let rules = stage.env.rules().expect("built with rules");
    fs::remove_file(rules.join("bad.yar")).expect("rm");
    assert!(kill_one(&stage.env, "fdscand-templat"));
    // One that begins now is refused when there is no scanner for some seconds.
    let _ = stage.ends_right(stage.begin(2000));
}
