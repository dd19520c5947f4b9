//! Whether outcomes are coloured, and how.
//!
//! Pure, but for the environment. Only the word of an outcome is coloured; without colour a line has
//! the same bytes as ever. JSON has none.

use std::ffi::OsStr;
use std::fmt;

use fdbroker_common::outcome::Outcome;

/// What the command line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColourChoice {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourChoice {
    /// Decides for one stream.
    #[must_use]
    pub fn on(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => by_environment(terminal, |name| std::env::var_os(name)),
        }
    }
}

/// `NO_COLOR` beats `CLICOLOR_FORCE`, which beats everything else.
fn by_environment<S: AsRef<OsStr>>(terminal: bool, variable: impl Fn(&str) -> Option<S>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|told| told.as_ref() == value);
    let is_set = |name: &str| variable(name).is_some_and(|told| !told.as_ref().is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") {
        return true;
    }
    terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb")
}

/// The word of an outcome, in its colour or without.
pub(super) struct Word<'a> {
    pub(super) word: &'a str,
    pub(super) outcome: &'a Outcome,
    pub(super) coloured: bool,
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.outcome {
            Outcome::Match { .. } => "1;31",
            Outcome::Clean => "32",
            Outcome::Skipped(_) => "",
            _ => "33",
        };
        if self.coloured && !code.is_empty() {
            write!(out, "\x1b[{code}m{}\x1b[0m", self.word)
        } else {
            out.write_str(self.word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_as_others_do() {
        for (variables, on_terminal, elsewhere) in [
            (&[][..], true, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("NO_COLOR", "")], true, false),
            (&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false, false),
            (&[("CLICOLOR_FORCE", "1")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR", "0")], false, false),
            (&[("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], true, true),
            (&[("TERM", "dumb")], false, false),
        ] {
            let look = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1);
            let found = [by_environment(true, look), by_environment(false, look)];
            assert_eq!(found, [on_terminal, elsewhere], "{variables:?}");
        }
    }
}
