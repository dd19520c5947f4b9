//! One manual page: heading, name, synopsis, options and commands from a program's definitions, and
//! between them the sections that were written by hand. Pure: text to text.
//!
//! There is no date in a page: it would be that of the build, or nobody's.

use std::io;

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_mangen::Man;

/// A program that has a page.
pub struct Program {
    /// Its options and verbs.
    pub command: Command,
    /// Section of the manual.
    pub section: u8,
    /// Sections in roff. The first one stands before the options, all others after them.
    pub texts: &'static str,
    /// What follows the options in the synopsis, in roff.
    pub operands: &'static str,
}

impl Program {
    /// The whole page in roff.
    ///
    /// # Errors
    /// Never; clap_mangen writes into memory.
    pub fn page(&self) -> io::Result<String> {
        let (description, rest) = self.texts.split_at(second_section(self.texts));
        let mut page = self.heading() + &self.synopsis() + description;
        let mut options = Vec::new();
        Man::new(self.command.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8(options).map_err(io::Error::other)?;
        // Before a list of values clap_mangen breaks the line twice.
        page += &options.replace("\n.br\n\n.br\n", "\n.br\n");
        page += &self.verbs();
        Ok(page + rest)
    }

    fn heading(&self) -> String {
        let name = self.command.get_name();
        let version = self.command.get_version().unwrap_or_default();
        let about = self.command.get_about().map(ToString::to_string).unwrap_or_default();
        // One line without a full stop, as whatis(1) shows it.
        let about = about.split(". ").next().unwrap_or_default().to_owned();
        format!(
            ".\\\" Written by `make man`, from the program's options and the texts in\n\
             .\\\" tests/src/bin/pages-of-programs. Change those.\n\
             .TH {} {} \"\" \"fdbroker {version}\" fdbroker\n.SH NAME\n{name} \\- {}\n",
            name.to_uppercase(),
            self.section,
            escaped(&about),
        )
    }

    fn synopsis(&self) -> String {
        let mut text = format!(".SH SYNOPSIS\n.B {}\n", self.command.get_name());
        for argument in self.command.get_arguments() {
            if argument.is_positional() || is_common(argument) {
                continue;
            }
            let Some(long) = argument.get_long() else { continue };
            text += "[";
            if let Some(short) = argument.get_short() {
                text += &format!("\\fB\\-{short}\\fR|");
            }
            text += &format!("\\fB\\-\\-{}\\fR", escaped(long));
            if let Some([name, ..]) = argument.get_value_names()
                && argument.get_action().takes_values()
            {
                text += &format!(" \\fI{name}\\fR");
            }
            let repeats = matches!(argument.get_action(), ArgAction::Append | ArgAction::Count);
            text += if repeats { "]...\n" } else { "]\n" };
        }
        if !self.operands.is_empty() {
            text += &format!("{}\n", self.operands);
        }
        text
    }

    fn verbs(&self) -> String {
        let mut text = String::new();
        for verb in self.command.get_subcommands() {
            if text.is_empty() {
                text += ".SH COMMANDS\n";
            }
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!(".TP\n.B {}\n{}.\n", escaped(verb.get_name()), escaped(&about));
        }
        text
    }
}

/// What each program has.
fn is_common(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version")
}

/// Where the second heading of a section begins.
pub fn second_section(texts: &str) -> usize {
    texts.find("\n.SH ").map_or(texts.len(), |place| place + 1)
}

/// For text that is no roff; a line of it must not begin with a dot or a quote.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\n', " ")
}

/// An argument as pages and completions show it. Roff would take a backtick for an opening quote, and
/// what completes a value follows from how it is called.
pub fn shown(argument: &Arg) -> Arg {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let argument = argument.clone().help(help.replace('`', "\""));
    let hint = match argument.get_value_names().unwrap_or_default() {
        [name] if name == "DIR" => ValueHint::DirPath,
        [name] if name == "FILE" => ValueHint::FilePath,
        [name] if name == "NAME" => ValueHint::Username,
        _ => argument.get_value_hint(),
    };
    argument.value_hint(hint)
}
