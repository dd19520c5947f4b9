//! Everything at once, for as long as one likes: users, enemies, faults, new rules, changing trees.
//!
//! Runs as root, in one thread but for the one that changes a tree. Each scan is compared with a table of
//! what must become of each file; from time to time everything rests, and then there must be no more
//! processes, descriptors, sockets and memory than in the beginning. What is done is chosen by a seeded
//! generator; when it is done depends on the machine.

mod churn;
mod faults;
mod hostile;
mod random;
mod rest;
mod rules;
mod scans;
mod tree;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::directory;
use crate::{Caller, Env, Program, Running};
use churn::Churn;
use faults::{Stopped, Tally};
use hostile::Held;
use random::Random;
use rest::Rest;
use scans::Scan;
use tree::Trees;

/// Most scans at once.
const SCANS_MAX: usize = 6;
/// How often something is done.
const TICK: Duration = Duration::from_millis(20);
/// The scanner with faults, beside the executables.
const FAULTS: &str = "examples/fdscand-faults";

/// How long, how, and with which numbers.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For how long.
    pub duration: Duration,
    /// Chooses what is done.
    pub seed: u64,
    /// How long there is no rest.
    pub busy: Duration,
    /// How long after a restart of the broker the next one may come.
    pub restart_pause: Duration,
    /// Whether there is time for files that take for ever.
    pub endless: bool,
}

impl Plan {
    /// A plan for some time.
    #[must_use]
    pub fn new(duration: Duration, seed: u64) -> Self {
        let busy = (duration / 4).clamp(Duration::from_secs(2), Duration::from_secs(20));
        let endless = duration >= Duration::from_secs(30);
        Self { duration, seed, busy, restart_pause: Duration::from_secs(40), endless }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    scans: BTreeMap<&'static str, u64>,
    files: usize,
    tally: Tally,
    changes: u64,
    rests: usize,
    base: Rest,
    last: Rest,
}

/// Everything that goes on.
struct Soak {
    scans: Vec<Scan>,
    held: Vec<Held>,
    stopped: Vec<Stopped>,
    churn: Churn,
    trees: Trees,
    scanner: Option<Running>,
    env: Env,
    plan: Plan,
    random: Random,
    tally: Tally,
    done: BTreeMap<&'static str, u64>,
    files: usize,
    /// Since the last rest.
    slowest: (Duration, &'static str),
    /// When the scanner, or a template of it, was last killed.
    scanner_fault: Option<Instant>,
    restarted: Instant,
    has_faults: bool,
}

/// Runs it.
///
/// # Errors
/// The first thing that was not as it has to be, with what led to it.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let mut soak = Soak::start(plan);
    let result = soak.live();
    if result.is_err() {
        soak.let_go_on(true);
        eprintln!("--- fdbroker and fdscand\n{}---", soak.log());
    }
    soak.end();
    result.map_err(|reason| format!("seed {}: {reason}", plan.seed))
}

impl Soak {
    fn start(plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let has_faults = directory().join(FAULTS).is_file();
        // With faults, or else by chance, the scanner is started by hand.
        let by_hand = has_faults || random.once_in(2);
        let env = tree::RULES.iter().fold(Env::build(), |env, (name, text)| env.rule(name, text));
        let env = if by_hand { env } else { env.broker_arg("--spawn-scanner") };
        let mut env = env.broker_arg("--workers").broker_arg("3").idle();
        env.start_broker();
        let trees = Trees::new(&env, has_faults);
        let churn = Churn::start(&trees.churn, plan.seed);
        let now = Instant::now();
        let mut soak = Self {
            scans: Vec::new(),
            held: Vec::new(),
            stopped: Vec::new(),
            churn,
            trees,
            scanner: None,
            env,
            plan: plan.clone(),
            random,
            tally: Tally::default(),
            done: BTreeMap::new(),
            files: 0,
            slowest: (Duration::ZERO, ""),
            scanner_fault: Some(now),
            restarted: now,
            has_faults,
        };
        if by_hand {
            soak.start_scanner();
        }
        soak.env.wait_serving();
        soak
    }

    /// Starts fdscand by hand.
    fn start_scanner(&mut self) {
        let program = if self.has_faults {
            Program::at(&directory().join(FAULTS))
        } else {
            Program::new("fdscand")
        };
        let program = program.caller(&Caller::nobody()).arg("--runtime-dir");
        self.scanner = Some(program.arg(self.env.runtime()).spawn());
    }

    fn live(&mut self) -> Result<Report, String> {
        let begun = Instant::now();
        self.warm_up()?;
        let mut base = self.rest(None)?;
        for _ in 0..20 {
            base = base.most(&self.rest(None)?);
        }
        // Allocators keep what the first load took.
        self.be_busy()?;
        self.come_to_rest()?;
        base = base.with_memory_of(&self.rest(Some(&base.with_any_memory()))?);
        let (mut last, mut rests) = (base, 0);
        while rests == 0 || begun.elapsed() < self.plan.duration {
            self.be_busy()?;
            self.come_to_rest()?;
            last = self.rest(Some(&base))?;
            rests += 1;
            let scans: u64 = self.done.values().sum();
            let (slowest, what) = std::mem::take(&mut self.slowest);
            println!(
                "{:>6} s  {scans} scans, slowest {:.1} s ({what}); at rest: {last}",
                begun.elapsed().as_secs(),
                slowest.as_secs_f32()
            );
        }
        Ok(Report {
            plan: self.plan.clone(),
            scans: self.done.clone(),
            files: self.files,
            tally: self.tally.clone(),
            changes: self.churn.changes(),
            rests,
            base,
            last,
        })
    }

    /// One scan of each kind that serves, and some of them at once.
    fn warm_up(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            self.serves()?;
            self.finish_scans()?;
        }
        Ok(())
    }

    fn be_busy(&mut self) -> Result<(), String> {
        self.churn.rest(false);
        let begun = Instant::now();
        while begun.elapsed() < self.plan.busy {
            self.let_go_on(false);
            self.let_go(false);
            if self.scans.len() < SCANS_MAX {
                self.begin_scan();
            }
            if self.random.once_in(8) {
                self.be_hostile();
            }
            if self.random.once_in(12) {
                self.inject()?;
            }
            if self.random.once_in(150) {
                self.new_rules()?;
            }
            thread::sleep(TICK);
            self.collect()?;
        }
        Ok(())
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        self.let_go_on(true);
        self.let_go(true);
        self.churn.rest(true);
        self.finish_scans()?;
        self.serves()?;
        self.finish_scans()
    }

    fn finish_scans(&mut self) -> Result<(), String> {
        while !self.scans.is_empty() {
            self.collect()?;
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Looks at scans that have ended.
    fn collect(&mut self) -> Result<(), String> {
        for mut scan in std::mem::take(&mut self.scans) {
            if scan.running.ended_within(Duration::ZERO).is_none() {
                if scan.is_late() {
                    return Err(format!("{}: does not end\n{}", scan.what, scan.running.log()));
                }
                self.scans.push(scan);
                continue;
            }
            *self.done.entry(scan.what).or_default() += 1;
            self.slowest = self.slowest.max((scan.since.elapsed(), scan.what));
            if scan.killed {
                continue;
            }
            let output = scan.running.take_output();
            if verify::met_no_broker(&scan, &output, &self.tally) {
                self.tally.add("client met no broker, and said so");
                continue;
            }
            self.files += verify::verify(&scan, &output, &self.tally)?;
        }
        Ok(())
    }

    fn log(&self) -> String {
        let scanner = self.scanner.as_ref().map(Running::log).unwrap_or_default();
        let log = format!("{}{scanner}", self.env.log());
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(200);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Ends everything; what is left behind is a failure of its own.
    fn end(mut self) {
        self.let_go_on(true);
        self.scans.clear();
        self.held.clear();
        drop(self.churn);
        if let Some(mut scanner) = self.scanner.take() {
            scanner.signal(nix::sys::signal::Signal::SIGTERM);
            let ended = scanner.ended_within(crate::PATIENCE);
            assert!(ended.is_some_and(|status| status.success()), "fdscand: {ended:?}");
        }
        self.env.stop();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scans: u64 = self.scans.values().sum();
        writeln!(out, "seed {}, {} s", self.plan.seed, self.plan.duration.as_secs())?;
        writeln!(out, "{:<44}{scans:>8}", "scans")?;
        for (what, count) in &self.scans {
            writeln!(out, "  {what:<42}{count:>8}")?;
        }
        writeln!(out, "{:<44}{:>8}", "files checked", self.files)?;
        writeln!(out, "faults and the like")?;
        for (what, count) in self.tally.iter() {
            writeln!(out, "  {what:<42}{count:>8}")?;
        }
        writeln!(out, "  {:<42}{:>8}", "names and contents changed", self.changes)?;
        writeln!(out, "{:<44}{:>8}", "times at rest, as in the beginning", self.rests)?;
        writeln!(out, "base: {}", self.base)?;
        writeln!(out, "last: {}", self.last)
    }
}
