//! The health check: what makes it healthy, and how it ends if it is not.

use std::os::unix::fs::PermissionsExt;

use fdbroker_tests::{Caller, Env, Output, require_root, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

fn object(output: &Output) -> Value {
    serde_json::from_str(output.text().trim()).expect("JSON")
}

#[test]
fn a_broker_that_judges_is_healthy_for_everybody() {
    require_root!();
    let env = Env::build().start_spawned();
    for caller in [Caller::user(2000), Caller::root()] {
        let ping = object(&env.ctl_as(&caller, ["--json", "ping"]).expect_code(0));
        assert_eq!((&ping["healthy"], &ping["outcome"]), (&true.into(), &"match".into()));
        assert_eq!(ping["harmless_outcome"], "clean");
        assert_eq!(ping["generation"], env.status().generation.unwrap().to_string());
        assert!(ping["milliseconds"].as_f64().is_some_and(|it| it > 0.0), "{ping}");
    }
    let text = env.ctl_as(&Caller::user(2000), ["ping"]).expect_code(0).text();
    assert!(text.contains("EICAR found by generation"), "{text}");
    assert!(text.contains("a harmless file clean by generation"), "{text}");
    env.stop();
}

#[test]
fn rules_that_match_everything_leave_it_healthy() {
    require_root!();
    let env = Env::build().rule("all.yar", "rule All { condition: true }").start_spawned();
    let ping = object(&env.ctl(["--json", "ping"]).expect_code(0));
    assert_eq!((&ping["healthy"], &ping["harmless_outcome"]), (&true.into(), &"match".into()));
    env.stop();
}

#[test]
fn without_a_verdict_in_time_it_is_unhealthy() {
    require_root!();
    let env = Env::build().broker_arg("--workers").broker_arg("2").start_spawned();
    // A worker has the name of its template until it has one of its own.
    wait_until("both workers stand ready", || {
        let names = ["fdscand-templat", "fdscand-worker"].map(|name| env.named(name).len());
        (names == [1, 2]).then_some(())
    });
    let template = env.named("fdscand-templat");
    // Nobody forks a worker any more; those that stand ready do not answer either.
    let stopped = [template, env.named("fdscand-worker")].concat();
    for pid in &stopped {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid as i32), Signal::SIGSTOP);
    }
    let output = env.ctl(["--json", "ping", "--timeout", "1"]).expect_code(1);
    let ping = object(&output);
    assert_eq!((&ping["healthy"], &ping["found"]), (&false.into(), &false.into()));
    assert_eq!(ping["reason"], "no answer within 1 s");
    for pid in &stopped {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid as i32), Signal::SIGCONT);
    }
}

#[test]
fn where_nobody_can_be_asked_that_is_another_status() {
    require_root!();
    let env = Env::build().start_spawned();
    let socket = env.client_socket();
    let modes = |mode| {
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    modes(0o600);
    let denied = env.ctl_as(&Caller::user(2000), ["ping"]).expect_code(2);
    assert!(denied.errors().contains("permission denied"), "{denied}");
    modes(0o666);
    let absent = env.dir().join("absent");
    let program = fdbroker_tests::Program::new("fdbrokerctl").arg("--runtime-dir");
    let output = program.arg(&absent).arg("ping").output().expect_code(2);
    assert!(output.errors().contains("no broker at"), "{output}");
    env.stop();
}
