//! One program of ours against several others, in the same rounds.

use std::process::Command;

use super::Row;
use crate::measure::{Contender, Measured, interleave};

/// Who takes part.
pub struct Contest<'a> {
    case: &'static str,
    contenders: Vec<Contender<'a>>,
    /// Name, target, and the place among the contenders or why there is none.
    others: Vec<(&'static str, Option<f64>, Result<usize, String>)>,
}

impl<'a> Contest<'a> {
    pub fn new(case: &'static str, ours: impl Fn() -> Command + 'a) -> Self {
        Self { case, contenders: vec![Contender::program(ours)], others: Vec::new() }
    }

    /// Adds another, unless it is missing.
    pub fn against<F: Fn() -> Command + 'a>(
        mut self,
        name: &'static str,
        target: impl Into<Option<f64>>,
        make: Result<F, String>,
    ) -> Self {
        let place = make.map(|make| {
            self.contenders.push(Contender::program(make));
            self.contenders.len() - 1
        });
        self.others.push((name, target.into(), place));
        self
    }

    /// Measures all, and tells one row for each other.
    pub fn run(self, rounds: usize, before: impl FnMut()) -> Vec<Row> {
        let samples = interleave(rounds, self.contenders, before);
        let row = |(name, target, place): (_, _, Result<usize, String>)| {
            let measured = place.map(|place| Measured::medians(&samples[0], &samples[place]));
            Row::new(self.case, name, target, measured)
        };
        self.others.into_iter().map(row).collect()
    }
}
