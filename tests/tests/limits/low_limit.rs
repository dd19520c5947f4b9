//! Started with a low limit on open files, the broker says so or works; it never fails half-way.

use fdbroker_common::limits::DESCRIPTORS_MIN;
use fdbroker_tests::program::executable;
use fdbroker_tests::{Env, Program, Running, require_root, require_tool};

use crate::assert_served;

fn start(env: &Env, files: u64) -> Running {
    Program::at("/usr/bin/prlimit".as_ref())
        .arg(format!("--nofile={files}:{files}"))
        .arg(executable("fdbroker"))
        .args(["--spawn-scanner", "--runtime-dir"])
        .arg(env.runtime())
        .spawn()
}

#[test]
fn below_the_least_limit_the_broker_does_not_start_and_says_what_to_do() {
    require_root!();
    require_tool!("prlimit");
    let env = Env::build().idle();
    for files in [64, 128, 256, DESCRIPTORS_MIN - 1] {
        let output = start(&env, files).finish().expect_code(2);
        assert!(output.errors().contains("raise the hard limit"), "{output}");
        assert!(!env.client_socket().exists());
    }
}

#[test]
fn at_the_least_limit_it_serves() {
    require_root!();
    require_tool!("prlimit");
    let mut env = Env::build().idle();
    let broker = start(&env, DESCRIPTORS_MIN);
    env.put_back(broker);
    env.wait_serving();
    assert_served(&env, 2000);
}
