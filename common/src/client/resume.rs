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

/// This many interruptions in a row between which nothing was achieved are too many, if they also took
/// longer than a connection is waited for.
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
    /// The last interruption before which something was, and how many there were since.
    last_advance: Instant,
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
            last_advance: Instant::now(),
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
        let open = self.open.take();
        if let (Some((since, _)), ClientError::Refused(_)) = (&open, &error) {
            self.open = Some((*since, error));
            return Ok(());
        }
        let now = Instant::now();
        if std::mem::take(&mut self.advanced) {
            (self.fruitless, self.last_advance) = (0, now);
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let is_long = now.saturating_duration_since(self.last_advance) >= self.patience;
        if self.fruitless >= FRUITLESS_MAX && is_long {
            return Err(error);
        }
        // A connection that is lost once more, before the scan was accepted, is no news.
        self.told &= open.is_some();
        self.pauses = self.fruitless > 0;
        self.open = Some((now, error));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resumption(patience: Duration) -> Resumption<'static> {
        Resumption::new(patience, |_| Reconnection::NotYet)
    }

    #[test]
    fn what_gets_no_further_is_given_up_when_it_has_taken_long() {
        let mut hurried = resumption(Duration::ZERO);
        let mut patient = resumption(Duration::from_secs(1000));
        for nth in 1..20 {
            assert_eq!(hurried.interrupt(ClientError::Lost).is_ok(), nth < FRUITLESS_MAX);
            assert!(patient.interrupt(ClientError::Lost).is_ok());
            hurried.accept();
        }
        hurried.advance();
        assert!(hurried.interrupt(ClientError::Lost).is_ok());
    }

    #[test]
    fn an_interruption_is_told_once_and_the_next_one_too() {
        let mut resumption = resumption(Duration::ZERO);
        for _ in 0..2 {
            resumption.advance();
            resumption.interrupt(ClientError::Lost).unwrap();
            assert!(matches!(resumption.news(), Some(Event::Interrupted(None))));
            resumption.interrupt(ClientError::Lost).unwrap();
            assert!(resumption.news().is_none());
            assert!(resumption.accept());
            assert!(!resumption.accept());
        }
    }

    #[test]
    fn only_what_time_mends_is_waited_for() {
        let no_scanner = || ClientError::Refused(Refusal::NoScanner);
        let mut resumption = resumption(Duration::ZERO);
        assert!(resumption.interrupt(no_scanner()).is_err());
        resumption.accept();
        assert!(resumption.interrupt(no_scanner()).is_ok());
        assert!(resumption.interrupt(ClientError::Refused(Refusal::NotAllowed)).is_err());
        assert!(resumption.interrupt(ClientError::protocol("nonsense")).is_err());
    }

    #[test]
    fn nobody_within_the_bound_is_the_error_that_it_began_with() {
        let mut resumption = resumption(Duration::from_millis(1));
        resumption.interrupt(ClientError::Silent(30)).unwrap();
        assert!(matches!(resumption.attempt(), Ok(None)));
        let last = (0..100).find_map(|_| resumption.attempt().err());
        assert!(matches!(last, Some(ClientError::Silent(30))));
    }
}
