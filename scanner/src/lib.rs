//! The scanner of fdbroker: judges files that it could never open itself.
//!
//! Everything here runs as the scanner's own unprivileged user, never as root. Three roles, each a
//! process of its own:
//!
//! * the **supervisor** ([`supervisor`]) holds the connection to the broker and starts templates;
//! * a **template** ([`template`]) compiles one generation of rules, seals itself and forks workers;
//! * a **worker** ([`worker`]) reads the descriptors of one caller at a time and answers in numbers.
//!
//! No role ever opens a file that it is to judge.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

use std::process::ExitCode;

use clap::Parser;
use log::error;

pub mod args;
pub mod children;
pub mod engine;
pub mod fork;
pub mod generation;
pub mod input;
pub mod journal;

pub mod memory;
pub mod names;
pub mod outbox;
pub mod prefetch;
pub mod probe;
pub mod seal;
pub mod signals;
pub mod sources;
pub mod supervisor;
pub mod template;
pub mod templates;
pub mod worker;

use args::Args;
use engine::Engine;
use engine::yara::Yara;
use journal::Role;
use seal::identity::Unprivileged;

/// Runs the role that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    main_with(|engine| engine)
}

/// As [`main`], with another engine in the workers: `wrap` makes it in each of them, from the one that
/// the template has prepared and before the last seal. For the tests of what a bad engine can do.
#[must_use]
pub fn main_with<E: Engine>(wrap: impl FnOnce(Yara) -> E) -> ExitCode {
    let args = Args::parse();
    journal::init(args.verbose);
    if args.template.is_some() {
        journal::speak_as(Role::Template);
    }
    let user = match Unprivileged::prove() {
        Ok(user) => user,
        Err(error) => {
            error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match args.template {
        Some(parent) => template::run(user, parent, wrap),
        None => match supervisor::run(user, &args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                error!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}
