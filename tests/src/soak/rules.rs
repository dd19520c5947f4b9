//! New rules, good ones and bad ones, while everything goes on.

use std::fs;
use std::time::{Duration, Instant};

use super::Soak;

/// After a fault of the scanner, rules are left alone until it serves again for certain.
const PAUSE: Duration = Duration::from_secs(5);

impl Soak {
    /// Has rules reloaded. What is asked for must happen, unless the scanner has just been lost.
    ///
    /// # Errors
    /// It did not.
    pub fn new_rules(&mut self) -> Result<(), String> {
        // Who is asked must not be one that is stopped.
        self.let_go_on(true);
        let lost = self.scanner_fault.is_some_and(|at| at.elapsed() < PAUSE);
        if lost || self.env.status().generation.is_none() {
            return Ok(());
        }
        let is_bad = self.random.once_in(3);
        let name = if is_bad { "bad.yar" } else { "more.yar" };
        let text = if is_bad {
            "rule Bad { condition: nonsense }".to_owned()
        } else {
            format!("rule More{} {{ condition: false }}", self.random.below(1000))
        };
        self.env.write_rule(name, &text);
        let begun = Instant::now();
        let output = self.env.ctl(["reload"]);
        if let (true, Some(rules)) = (is_bad, self.env.rules()) {
            fs::remove_file(rules.join(name)).map_err(|error| error.to_string())?;
        }
        let expected = i32::from(is_bad);
        if output.code != Some(expected) {
            return Err(format!("reload of {name} after {:?}: {output}", begun.elapsed()));
        }
        self.tally.add(if is_bad { "bad rules reloaded" } else { "good rules reloaded" });
        Ok(())
    }
}
