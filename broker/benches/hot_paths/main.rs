//! `make microbench`: what the hot paths cost, in instructions where valgrind is installed, else in time.
//!
//! Each operation is run twice under callgrind, with few and with many repetitions; the difference has
//! no start-up in it and is the same on a busy machine. Instructions of the kernel are not counted; the
//! time, of a run without valgrind, has them. With a file as its argument, the table goes there.
#![forbid(unsafe_code)]

mod operations;

use std::fmt::Write;
use std::process::Command;
use std::time::Instant;

use operations::OPERATIONS;

const FEW: usize = 20;
const MANY: usize = 120;
/// Runs of which the fastest counts.
const TIMED_RUNS: usize = 5;

const BEGIN: &str = "<!-- microbench: begin -->";
const END: &str = "<!-- microbench: end -->";

fn main() {
    // Cargo says --bench to every benchmark.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", name, times] => run(name, times.parse().expect("a number")),
        ["list"] => OPERATIONS.iter().for_each(|operation| println!("{}", operation.name)),
        [] => print!("{}", table()),
        [page] => record(page, &table()),
        _ => panic!("usage: hot_paths [PAGE]"),
    }
}

fn run(name: &str, times: usize) {
    let operation =
        OPERATIONS.iter().find(|operation| operation.name == name).expect("an operation");
    (operation.prepare)()(times);
}

fn table() -> String {
    let mut text = String::from(
        "| operation | of | instructions each | time each |\n| --- | --- | --- | --- |\n",
    );
    for operation in &OPERATIONS {
        let instructions = instructions(operation.name)
            .map_or_else(|reason| reason, |count| format!("{}", count / operation.items));
        let nanoseconds = nanoseconds(operation) / operation.items;
        writeln!(
            text,
            "| {} | {} | {instructions} | {nanoseconds} ns |",
            operation.name, operation.each
        )
        .expect("memory");
    }
    text
}

/// Instructions of one repetition, by the difference of two counts.
fn instructions(name: &str) -> Result<usize, String> {
    let [few, many] = [FEW, MANY].map(|times| count(name, times));
    Ok(many?.saturating_sub(few?) / (MANY - FEW))
}

fn count(name: &str, times: usize) -> Result<usize, String> {
    let own = std::env::current_exe().expect("own executable");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own);
    command.args(["run", name]).arg(times.to_string());
    let output = command.output().map_err(|_| "needs valgrind".to_owned())?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err("not under this valgrind".to_owned());
    }
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.ok_or_else(|| "valgrind said nothing".to_owned())
}

/// Time of one repetition.
fn nanoseconds(operation: &operations::Operation) -> usize {
    let mut run = (operation.prepare)();
    run(FEW);
    let once = |_| {
        let begun = Instant::now();
        run(MANY);
        usize::try_from(begun.elapsed().as_nanos()).unwrap_or(usize::MAX) / MANY
    };
    (0..TIMED_RUNS).map(once).min().unwrap_or(0)
}

fn record(path: &str, table: &str) {
    print!("{table}");
    let page = std::fs::read_to_string(path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("a mark where the table begins");
    let (_, after) = rest.split_once(END).expect("a mark where the table ends");
    std::fs::write(path, format!("{before}{BEGIN}\n\n{table}\n{END}{after}")).expect("write");
}
