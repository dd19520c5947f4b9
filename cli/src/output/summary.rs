//! The counts at the end.
//!
//! Pure. Counts that are zero and say nothing are left out for people, never for programs.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use fdbroker_common::client::Rules;
use fdbroker_common::totals::Totals;

/// How a scan ended.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Counts.
    pub totals: Totals,
    /// Time from the first message to the last.
    pub duration: Duration,
    /// The rules in force; none if the scan was never accepted.
    pub rules: Option<Rules>,
    /// What the process will exit with.
    pub exit_code: u8,
    /// Why the scan did not reach its end.
    pub error: Option<String>,
    /// Whether that is because somebody wanted it to end.
    pub interrupted: bool,
}

impl Summary {
    /// Writes the block for people. A scan that failed has none.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.error.is_some() && !self.interrupted {
            return Ok(());
        }
        let totals = &self.totals;
        writeln!(out)?;
        if self.interrupted {
            writeln!(out, "Interrupted before the end; until then, at least:")?;
        }
        writeln!(out, "Files:      {}", totals.files())?;
        writeln!(out, "Clean:      {}", totals.clean)?;
        writeln!(out, "Matches:    {}", totals.matched)?;
        for (word, count) in [
            ("Incomplete:", totals.incomplete),
            ("Unstable:", totals.unstable),
            ("Denied:", totals.denied),
            ("Errors:", totals.errors),
            ("Skipped:", totals.skipped),
        ] {
            if count > 0 {
                writeln!(out, "{word:<12}{count}")?;
            }
        }
        writeln!(out, "Data:       {}", Bytes(totals.bytes))?;
        writeln!(out, "Time:       {:.2} s", self.duration.as_secs_f64())?;
        if let Some(rules) = self.rules {
            writeln!(out, "Rules:      {} ({})", rules.count, rules.generation)?;
        }
        Ok(())
    }
}

/// Displays a number of bytes in the largest unit that it fills.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            let whole = self.0 >> shift;
            if whole > 0 {
                let rest = self.0 - (whole << shift);
                return write!(out, "{whole}.{} {unit}", (rest * 10) >> shift);
            }
        }
        write!(out, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_common::generation::GenerationId;

    use super::*;

    #[test]
    fn bytes_are_told_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn only_counts_that_say_something_are_shown() {
        let summary = Summary {
            totals: Totals { clean: 3, denied: 1, bytes: 2048, ..Totals::default() },
            duration: Duration::from_millis(1250),
            rules: Some(Rules { generation: GenerationId([0xab; 16]), count: 7 }),
            exit_code: 2,
            error: None,
            interrupted: false,
        };
        let mut text = Vec::new();
        summary.write_text(&mut text).unwrap();
        let expected = "\nFiles:      4\nClean:      3\nMatches:    0\nDenied:     1\n\
                        Data:       2.0 KiB\nTime:       1.25 s\n\
                        Rules:      7 (abababababababababababababababab)\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn only_an_interrupted_scan_has_counts_without_an_end() {
        let mut summary = Summary {
            totals: Totals::default(),
            duration: Duration::ZERO,
            rules: None,
            exit_code: 2,
            error: Some("the broker went away".to_owned()),
            interrupted: false,
        };
        let mut text = Vec::new();
        summary.write_text(&mut text).unwrap();
        assert!(text.is_empty());
        summary.interrupted = true;
        summary.write_text(&mut text).unwrap();
        assert!(
            text.starts_with(
                b"\nInterrupted before the end; until then, at least:\nFiles:      0\n"
            )
        );
    }
}
