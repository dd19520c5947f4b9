//! Runs contenders in turn, so that a busy machine is busy for all of them, and compares medians.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A case ends after this if it has had [`ROUNDS_MIN`] rounds.
const CASE_TIME: Duration = Duration::from_secs(25);
const ROUNDS_MIN: usize = 3;

/// What is measured, one of several.
pub struct Contender<'a> {
    run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// Anything that tells how long it took.
    pub fn new(run: impl FnMut() -> Duration + 'a) -> Self {
        Self { run: Box::new(run) }
    }

    /// A program, from its start to its end, with its output in a file.
    pub fn program(make: impl Fn() -> Command + 'a) -> Self {
        let output = Output::new();
        Self::new(move || output.time(make()))
    }
}

/// A file for what programs say.
pub struct Output(PathBuf);

impl Output {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};

        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fdbroker-bench-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Runs a program; every end but "nothing found" and "found" is an error.
    pub fn time(&self, mut command: Command) -> Duration {
        let file = File::create(&self.0).expect("a file for output");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("dup")).stderr(file);
        let begun = Instant::now();
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let took = begun.elapsed();
        // `yr` ends with 1 after a wrong option, too.
        let complains = self.text().lines().any(|line| line.starts_with("error:"));
        let good = matches!(status.code(), Some(0 | 1)) && !complains;
        assert!(good, "{command:?}: {status}\n{}", self.text());
        took
    }

    /// What the last one said.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.0).unwrap_or_default()).into_owned()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Values of one contender, one for each round, or of each request.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    /// The value that this share of all values does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let index = (share * last as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// Warm-up, then rounds in which each runs once. `before` is done before each run.
pub fn interleave(
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
    mut before: impl FnMut(),
) -> Vec<Samples> {
    let mut samples = vec![Samples::default(); contenders.len()];
    for contender in &mut contenders {
        (contender.run)();
    }
    let begun = Instant::now();
    for round in 0..rounds {
        if round >= ROUNDS_MIN && begun.elapsed() > CASE_TIME {
            break;
        }
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            before();
            samples.push((contender.run)());
        }
    }
    samples
}

/// Two values against each other.
#[derive(Debug, Clone)]
pub struct Measured {
    pub ratio: f64,
    /// Lowest and highest ratio of a round.
    pub range: Option<(f64, f64)>,
    pub ours: String,
    pub theirs: String,
}

impl Measured {
    /// Medians of interleaved runs.
    pub fn medians(ours: &Samples, theirs: &Samples) -> Self {
        let rounds = ours.0.iter().zip(&theirs.0).map(|(ours, theirs)| ours / theirs);
        let range =
            rounds.fold((f64::MAX, 0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
        Self { range: Some(range), ..Self::times(ours.median(), theirs.median()) }
    }

    /// Two times in seconds.
    pub fn times(ours: f64, theirs: f64) -> Self {
        Self { ratio: ours / theirs, range: None, ours: seconds(ours), theirs: seconds(theirs) }
    }

    /// Two amounts of memory in KiB.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn memory(ours: u64, theirs: u64) -> Self {
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        Self {
            ratio: ours as f64 / theirs as f64,
            range: None,
            ours: mib(ours),
            theirs: mib(theirs),
        }
    }
}

/// For people.
pub fn seconds(value: f64) -> String {
    match value {
        value if value < 0.001 => format!("{:.0} µs", value * 1e6),
        value if value < 0.1 => format!("{:.2} ms", value * 1e3),
        value if value < 1.0 => format!("{:.0} ms", value * 1e3),
        value => format!("{value:.2} s"),
    }
}
