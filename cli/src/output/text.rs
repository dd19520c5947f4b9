//! One line a file, for people and for `grep`.
//!
//! Pure. The grammar is `NAME: OK`, `NAME: RULE[,RULE...] FOUND` or `NAME: reason WORD`; whatever a
//! name contains, it stays on its line.

use std::fmt;

use fdbroker_common::client::Report;
use fdbroker_common::escape::Escaped;
use fdbroker_common::outcome::Outcome;

use super::colour::Word;
use super::name;

/// Displays a report as a line, without its end; its word in colour if that is wanted.
pub struct Line<'a>(pub &'a Report, pub bool);

impl fmt::Display for Line<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = &self.0.outcome;
        let word = |word| Word { word, outcome, coloured: self.1 };
        write!(out, "{}: ", name(&self.0.path))?;
        match outcome {
            Outcome::Clean => write!(out, "{}", word("OK")),
            Outcome::Match { rules } => {
                for (nth, rule) in rules.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { "," };
                    write!(out, "{comma}{}", Escaped(rule.as_bytes()))?;
                }
                write!(out, " {}", word("FOUND"))
            }
            other => write!(out, "{} {}", Reason(other), word(&other.word().to_uppercase())),
        }
    }
}

/// Displays why a file is neither clean nor a match; nothing if it is.
pub struct Reason<'a>(pub &'a Outcome);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Clean | Outcome::Match { .. } => Ok(()),
            Outcome::Incomplete { limit, read, total: 0 } => {
                write!(out, "{limit}, {read} bytes read")
            }
            Outcome::Incomplete { limit, read, total } => {
                write!(out, "{limit}, {read} of {total} bytes read")
            }
            Outcome::Unstable(change) => write!(out, "{change}"),
            Outcome::Denied => out.write_str("permission denied"),
            Outcome::Skipped(reason) => write!(out, "{reason}"),
            Outcome::Error(failure) => write!(out, "{failure}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use fdbroker_common::outcome::{Change, Failure, Limit, SkipReason};

    use super::*;

    fn line(path: &[u8], outcome: Outcome) -> String {
        let report = Report {
            target: 0,
            path: OsStr::from_bytes(path).into(),
            size: 0,
            outcome,
            details: None,
        };
        Line(&report, false).to_string()
    }

    #[test]
    fn only_the_word_is_coloured() {
        let rules = vec!["A".to_owned()];
        for (outcome, expected) in [
            (Outcome::Clean, "f: \x1b[32mOK\x1b[0m"),
            (Outcome::Match { rules }, "f: A \x1b[1;31mFOUND\x1b[0m"),
            (Outcome::Denied, "f: permission denied \x1b[33mDENIED\x1b[0m"),
            (Outcome::Skipped(SkipReason::Socket), "f: socket SKIPPED"),
        ] {
            let report = Report { target: 0, path: "f".into(), size: 0, outcome, details: None };
            assert_eq!(Line(&report, true).to_string(), expected);
        }
    }

    #[test]
    fn each_outcome_has_its_line() {
        let rules = ["A", "B"].map(str::to_owned).to_vec();
        let limited = |read, total| Outcome::Incomplete { limit: Limit::FileSize, read, total };
        for (outcome, expected) in [
            (Outcome::Clean, "f: OK"),
            (Outcome::Match { rules }, "f: A,B FOUND"),
            (limited(0, 123), "f: size limit, 0 of 123 bytes read INCOMPLETE"),
            (limited(5, 0), "f: size limit, 5 bytes read INCOMPLETE"),
            (Outcome::Unstable(Change::Shrunk), "f: shrank during the scan UNSTABLE"),
            (Outcome::Denied, "f: permission denied DENIED"),
            (Outcome::Skipped(SkipReason::Fifo), "f: named pipe SKIPPED"),
            (Outcome::Error(Failure::System(2)), "f: No such file or directory ERROR"),
        ] {
            assert_eq!(line(b"f", outcome), expected);
        }
    }

    #[test]
    fn a_name_cannot_forge_a_line_or_move_the_cursor() {
        let forged = line(b"a: OK\nb\x1b[2J\xff", Outcome::Clean);
        assert_eq!(forged, "a: OK\\nb\\x1b[2J\\xff: OK");
    }
}
