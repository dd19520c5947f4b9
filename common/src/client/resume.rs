//! What a scan does when nobody serves it any more: it waits, bounded, for somebody who does.
//!
//! Runs in the user's process. To scan is idempotent, so beginning again is safe; what was told
//! already is left out by the ledger. It gives up when nobody comes in time, and when it is served
//! again and again without getting any further.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::Client;
use super::error::ClientError;
use super::event::Event;
use crate::client_link::Refusal;

/// Pause between attempts to go on.
const RETRY: Duration = Duration::from_millis(200);

/// Most interruptions in a row between which nothing was achieved.
const FRUITLESS_MAX: u8 = 5;

/// Why a scan is interrupted.
#[derive(Debug)]
pub struct Interruption<'a> {
    /// What happened.
    pub error: &'a ClientError,
    /// Whether the scan had been accepted at least once.
    pub accepted: bool,
}

/// What came of an attempt to connect again.
#[derive(Debug)]
pub enum Reconnection {
    /// There is a connection.
    Connected(Client),
    /// Not now; ask again.
    NotYet,
    /// There will be none.
    Never,
}

type Connect<'c> = Box<dyn FnMut(&Interruption<'_>) -> Reconnection + 'c>;

/// How a scan goes on after it was interrupted.
pub(super) struct Resumption<'c> {
    connect: Connect<'c>,
    patience: Duration,
    /// Since when nobody serves the scan, and why.
    open: Option<(Instant, ClientError)>,
    accepted: bool,
    /// Whether anything was achieved since the last interruption.
    advanced: bool,
    fruitless: u8,
    /// Whether the next attempt is not the first one, or is likely to come to nothing.
    pauses: bool,
    /// Whether this interruption has been told.
    told: bool,
}

impl<'c> Resumption<'c> {
    pub(super) fn new(
        patience: Duration,
        connect: impl FnMut(&Interruption<'_>) -> Reconnection + 'c,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            patience,
            open: None,
            accepted: false,
            advanced: false,
            fruitless: 0,
            pauses: false,
            told: false,
        }
    }

    /// Whether nobody serves the scan.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Notes that something was achieved.
    pub(super) fn advance(&mut self) {
        self.advanced = true;
    }

    /// Notes that the scan is served. True if that ends an interruption.
    pub(super) fn accept(&mut self) -> bool {
        self.accepted = true;
        self.open.take().is_some()
    }

    /// Notes that the scan is not served any more.
    ///
    /// # Errors
    /// The error with which the scan ends.
    pub(super) fn interrupt(&mut self, error: ClientError) -> Result<(), ClientError> {
        let resumable = match error {
            ClientError::Lost | ClientError::Silent(_) | ClientError::Io(_) => true,
            ClientError::Refused(
                Refusal::NoScanner | Refusal::Overloaded | Refusal::TooManyConnections,
            ) => self.accepted,
            _ => false,
        };
        if !resumable {
            return Err(error);
        }
        if let Some((since, first)) = self.open.take() {
            // A refusal says more than the end of a connection.
            let error = if matches!(error, ClientError::Refused(_)) { error } else { first };
            self.open = Some((since, error));
            return Ok(());
        }
        self.fruitless = if self.advanced { 0 } else { self.fruitless.saturating_add(1) };
        self.advanced = false;
        if self.fruitless >= FRUITLESS_MAX {
            return Err(error);
        }
        (self.pauses, self.told) = (self.fruitless > 0, false);
        self.open = Some((Instant::now(), error));
        Ok(())
    }

    /// One attempt to get a connection, after a pause unless it is the first one.
    ///
    /// # Errors
    /// Why the scan was interrupted: there is no connection within the bound, or there will be none.
    pub(super) fn attempt(&mut self) -> Result<Option<Client>, ClientError> {
        let Some((since, error)) = self.open.take() else {
            return Err(ClientError::Lost);
        };
        if std::mem::replace(&mut self.pauses, true) {
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            thread::sleep(left.min(RETRY));
        }
        let interruption = Interruption { error: &error, accepted: self.accepted };
        let client = match (self.connect)(&interruption) {
            Reconnection::Connected(client) => Some(client),
            Reconnection::NotYet => None,
            Reconnection::Never => return Err(error),
        };
        self.open = Some((since, error));
        Ok(client)
    }

    /// What there is to be told of an interruption, once.
    pub(super) fn news(&mut self) -> Option<Event> {
        let refusal = match &self.open.as_ref()?.1 {
            ClientError::Refused(refusal) => Some(*refusal),
            _ => None,
        };
        (!std::mem::replace(&mut self.told, true)).then_some(Event::Interrupted(refusal))
    }
}

impl fmt::Debug for Resumption<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Resumption")
            .field("open", &self.open)
            .field("fruitless", &self.fruitless)
            .finish_non_exhaustive()
    }
}
