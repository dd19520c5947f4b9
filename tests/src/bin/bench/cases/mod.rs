//! The cases, in groups. Each gives rows for the table.

mod cold;
mod contest;
mod growth;
mod memory;
mod one;
mod sharing;
mod small;

use super::Settings;
use super::measure::Measured;
use super::stage::Stage;

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    pub case: &'static str,
    pub against: &'static str,
    /// The ratio is not to exceed this; none for what is told without a promise.
    pub target: Option<f64>,
    /// Or why it is not measured here.
    pub measured: Result<Measured, String>,
}

impl Row {
    pub fn new(
        case: &'static str,
        against: &'static str,
        target: impl Into<Option<f64>>,
        measured: Result<Measured, String>,
    ) -> Self {
        Self { case, against, target: target.into(), measured }
    }
}

type Group = fn(&Stage, &Settings) -> Vec<Row>;

const GROUPS: [(&str, Group); 9] = [
    ("small", small::one_rule),
    ("rules", small::many_rules),
    ("cold", cold::cold_cache),
    ("large", one::large_file),
    ("one", one::whole_process),
    ("held", one::held_connection),
    ("shared", sharing::while_others_scan),
    ("growth", growth::files),
    ("memory", memory::all),
];

/// All rows.
pub fn all(settings: &Settings) -> Vec<Row> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let stage = Stage::new();
    let mut rows = Vec::new();
    let groups = GROUPS.into_iter().chain([("callers", sharing::many_callers as Group)]);
    for (name, group) in groups.filter(|(name, _)| settings.wants(name)) {
        let begun = std::time::Instant::now();
        rows.extend(group(&stage, settings));
        eprintln!("bench: {name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    rows
}
