//! `make bench`: the system broker beside its neighbours, in one run, as ratios.
//!
//! Runs as root: it starts a broker with two workers and a clamd of its own in a scratch directory,
//! drops the page cache, and acts as other users. It judges no file itself. With a directory as its argument it writes
//! the table and the plot to `performance.md` and `performance.svg` there.
//!
//! ```text
//! bench [DIRECTORY]
//! BENCH_RUNS=5        rounds of each case
//! BENCH_FULL=1        with 500,000 files
//! BENCH_ONLY=a,b      only these groups: small rules cold large one held shared growth memory callers
//! ```
#![forbid(unsafe_code)]

mod cases;
mod clamd;
mod measure;
mod peers;
mod pipeline;
mod report;
mod rules;
mod stage;
mod svg;
mod trees;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the environment asks for.
#[derive(Debug)]
pub struct Settings {
    runs: usize,
    full: bool,
    only: Vec<String>,
}

impl Settings {
    fn of_environment() -> Self {
        let text = |name| std::env::var(name).unwrap_or_default();
        let only = text("BENCH_ONLY");
        Self {
            runs: text("BENCH_RUNS").parse().unwrap_or(5).max(1),
            full: text("BENCH_FULL") == "1",
            only: only.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }

    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == group)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let words: Vec<&Path> = arguments.iter().map(PathBuf::as_path).collect();
    match words.as_slice() {
        [verb, tree] if *verb == Path::new("pipeline") => pipeline::pass(tree),
        [verb, tree] if *verb == Path::new("vetted") => pipeline::pass_vetted(tree),
        [verb] if *verb == Path::new("receive") => pipeline::receive(),
        [verb, tree] if *verb == Path::new("read") => pipeline::read(tree),
        [] => return bench(None),
        [docs] if docs.is_dir() => return bench(Some(docs)),
        _ => {
            eprintln!("usage: bench [DIRECTORY]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn bench(docs: Option<&Path>) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("bench: needs root: it starts a system broker, and drops the page cache");
        return ExitCode::from(2);
    }
    let settings = Settings::of_environment();
    let rows = cases::all(&settings);
    let page = report::Page::new(&rows, &settings);
    print!("\n{}", page.text());
    if let Some(docs) = docs {
        page.write(docs);
    }
    ExitCode::SUCCESS
}

/// This program in another role.
fn pipeline_command(verb: &str, tree: &Path) -> std::process::Command {
    let own = std::env::current_exe().expect("own executable");
    let mut command = std::process::Command::new(own);
    command.arg(verb).arg(tree);
    command
}
