//! Writes the manual pages of the four programs and of their configuration into `man/`, shell completions
//! into `completions/` and the commented configuration into `etc/`, from the definitions that `--help` and
//! the parser come from and the texts (`*.roff`) beside this file. Run by `make man`; the directory that
//! holds them is its one argument. Not installed, needs no privilege, and writes the same bytes on each run.
#![forbid(unsafe_code)]

mod configuration;
mod page;
// By its source: its crate would link the engine.
#[path = "../../../../scanner/src/args.rs"]
mod scanner;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};

use page::Program;

/// The programs: section of the manual, texts, what follows the options in the synopsis.
fn programs() -> [Program; 4] {
    [
        Program {
            command: visible("fdbroker", &fdbroker_broker::configuration::args::Args::command()),
            section: 8,
            texts: include_str!("fdbroker.roff"),
            operands: "",
        },
        Program {
            command: visible("fdscand", &scanner::Args::command()),
            section: 8,
            texts: include_str!("fdscand.roff"),
            operands: "",
        },
        Program {
            command: visible("fdscan", &fdbroker_cli::args::Args::command()),
            section: 1,
            texts: include_str!("fdscan.roff"),
            operands: "\\fIPATH\\fR...",
        },
        Program {
            command: visible("fdbrokerctl", &fdbroker_cli::ctl::args::Args::command()),
            section: 1,
            texts: include_str!("fdbrokerctl.roff"),
            operands: "\\fBstatus\\fR|\\fBmetrics\\fR|\\fBping\\fR|\\fBreload\\fR|\\fBself\\-test\\fR|\\fBexplain\\fR \\fIUSER PATH\\fR",
        },
    ]
}

/// A command without the options that only our own processes give to each other; completions would
/// offer them.
fn visible(name: &'static str, command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let mut visible = Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_help_subcommand(true)
        .subcommand_required(command.is_subcommand_required_set())
        .args(arguments.map(page::shown))
        .subcommands(command.get_subcommands().cloned());
    visible.build();
    visible
}

fn write(directory: &Path) -> io::Result<()> {
    let (manual, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&manual)?;
    fs::create_dir_all(&completions)?;
    for program in programs() {
        let name = program.command.get_name().to_owned();
        fs::write(manual.join(format!("{name}.{}", program.section)), program.page()?)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut program.command.clone(), name.as_str(), &completions)?;
        }
    }
    let examples = directory.join("etc");
    fs::create_dir_all(&examples)?;
    fs::write(manual.join("fdbroker.toml.5"), configuration::page())?;
    fs::write(examples.join("fdbroker.toml"), configuration::example())
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: pages-of-programs DIRECTORY");
        return ExitCode::from(2);
    };
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages-of-programs: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}
