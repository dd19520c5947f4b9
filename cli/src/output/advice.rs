//! What can be done about a file that was not scanned whole (`--verbose-errors`).
//!
//! Pure. A sentence for people, which may change with any release; programs have the outcome.

use fdbroker_common::outcome::{Change, Failure, Limit, Outcome};

/// Advice, if there is anything to be done.
pub(super) fn advice(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Clean | Outcome::Match { .. } | Outcome::Skipped(_) => return None,
        Outcome::Incomplete { limit: Limit::FileSize, .. } => {
            "not read at all; raise --max-filesize, up to 2G, if it was given"
        }
        Outcome::Incomplete { limit: Limit::StreamSize, .. } => {
            "only the beginning was read; save it as a file and scan that"
        }
        Outcome::Incomplete { limit: Limit::Memory, .. } => {
            "the scanner has too little memory for it; ask the administrator of the broker"
        }
        Outcome::Incomplete { limit: Limit::ScanSize, .. } => {
            "not read at all: the administrator bounds what one scan may read; scan it by itself"
        }
        Outcome::Unstable(Change::Vanished) => {
            "it was removed or replaced; scan again if it is back"
        }
        Outcome::Unstable(_) => "something writes to it; scan again when that has ended",
        Outcome::Denied => "you may not read it; scan as its owner, or as root",
        Outcome::Error(failure) => match failure {
            Failure::TimedOut(_) => "it took too long; give it more time with --timeout",
            Failure::NoScanner => "the broker has no scanner; its log says why",
            Failure::WorkerCrashed(_) | Failure::Engine => {
                "the scanner failed on this file; it may be an attack on the scanner"
            }
            Failure::System(_) => "the system refused it; look at the file with ls -l and stat",
            _ => "see the reasons in docs/output.md",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_scanned_whole_has_advice() {
        assert_eq!(advice(&Outcome::Clean), None);
        assert!(advice(&Outcome::Denied).is_some());
        assert!(advice(&Outcome::Error(Failure::System(2))).is_some());
    }
}
