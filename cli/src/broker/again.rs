//! A connection in place of one that was lost in the middle of a scan.
//!
//! Runs as the user. The same broker is asked again, never another one; a private broker is replaced
//! once, unless it went before it had begun.

use std::path::PathBuf;

use fdbroker_common::client::{Client, Interruption, Reconnection};

use super::is_trusted;
use super::private::PrivateBroker;

/// Where a connection came from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The broker of a runtime directory.
    Shared {
        dir: PathBuf,
        /// Whether it was named, and so is trusted whoever serves there.
        named: bool,
        /// Whether it was asked for what it grants.
        granted: bool,
    },
    /// A private broker with these rules; whether it is in the place of another one.
    Private(Option<PathBuf>, bool),
}

/// Connects again.
#[derive(Debug)]
pub struct Replacement<'a> {
    pub(super) origin: &'a mut Origin,
    pub(super) private: &'a mut Option<PrivateBroker>,
}

impl Replacement<'_> {
    /// One attempt, which does not wait.
    pub fn connect(&mut self, interruption: &Interruption<'_>) -> Reconnection {
        match self.origin {
            Origin::Shared { dir, named, granted } => {
                let connect = if *granted { Client::connect_granted } else { Client::connect };
                match connect(dir) {
                    Ok(client) if *named || is_trusted(&client) => Reconnection::Connected(client),
                    _ => Reconnection::NotYet,
                }
            }
            Origin::Private(rules, replaced) => {
                if *replaced || !interruption.accepted {
                    return Reconnection::Never;
                }
                *replaced = true;
                match PrivateBroker::start(rules.as_deref()) {
                    Ok((broker, client)) => {
                        // Drops the old one, which ends it.
                        *self.private = Some(broker);
                        Reconnection::Connected(client)
                    }
                    Err(_) => Reconnection::Never,
                }
            }
        }
    }
}
