//! The status that is shown again and again.

use std::time::Duration;

use fdbroker_tests::terminal::On;
use fdbroker_tests::{Env, PATIENCE, Program, Terminal, require_root};
use nix::sys::signal::Signal;
use serde_json::Value;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

fn program(env: &Env) -> Program {
    let program = Program::new("fdbrokerctl").arg("--runtime-dir").arg(env.runtime());
    program.args(["status", "--watch", "1"])
}

#[test]
fn on_a_terminal_it_is_redrawn_in_place_and_the_terminal_is_given_back() {
    require_root!();
    let env = Env::build().start_spawned();
    let mut terminal = Terminal::start(program(&env), On::Both, 40);
    terminal.wait("a second drawing", |text| text.matches("\x1b[H").count() > 1);
    let written = terminal.written();
    assert!(written.starts_with(ENTER), "{written:?}");
    assert!(!written.contains("\x1b[2J"), "it flickers: {written:?}");
    let lines = written.split("\x1b[K").map(|line| line.rsplit(['\n', 'H']).next().unwrap());
    assert!(lines.map(|line| line.chars().count()).max() <= Some(40), "{written:?}");
    assert!(written.contains("workers      "), "{written:?}");
    terminal.press("\x03");
    assert_eq!(terminal.finish(), (None, Some(Signal::SIGINT)));
    assert!(terminal.written().trim_end().ends_with(LEAVE), "{:?}", terminal.written());
    env.stop();
}

#[test]
fn elsewhere_one_follows_the_other_and_has_no_codes() {
    require_root!();
    let env = Env::build().start_spawned();
    let mut running = program(&env).spawn();
    running.wait_for_output("\n\n2");
    running.signal(Signal::SIGTERM);
    running.ended_within(PATIENCE).expect("an end");
    assert!(!running.text().contains('\x1b') && running.text().contains("\nworkers "));
    let mut running = program(&env).arg("--json").spawn();
    running.wait_for_output("}\n{");
    running.signal(Signal::SIGTERM);
    running.ended_within(PATIENCE).expect("an end");
    let text = running.text();
    let objects: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(objects.len() > 1 && objects.iter().all(|object| object["version"] == 1), "{text}");
    env.stop();
}

#[test]
fn a_broker_that_goes_and_comes_back_is_waited_for_and_that_is_said() {
    require_root!();
    let mut env = Env::build().start_spawned();
    let mut running = program(&env).spawn();
    running.wait_for_output("\nbroker ");
    let mut broker = env.take_broker();
    broker.signal(Signal::SIGTERM);
    broker.ended_within(PATIENCE).expect("an end");
    running.wait_for_output("; asking again\n");
    let before = running.text().matches("\nbroker ").count();
    env.start_broker();
    fdbroker_tests::wait_until("the next status", || {
        (running.text().matches("\nbroker ").count() > before).then_some(())
    });
    running.signal(Signal::SIGINT);
    running.ended_within(Duration::from_secs(60)).expect("an end");
    env.stop();
}

#[test]
fn without_a_broker_it_does_not_begin() {
    let output = Program::new("fdbrokerctl")
        .args(["--runtime-dir", "/nonexistent", "status", "--watch"])
        .output()
        .expect_code(2);
    assert!(output.errors().contains("no broker at /nonexistent"), "{output}");
}
