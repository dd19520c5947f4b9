//! What has happened, for administrators: errors, loads of the rules, how long openers wait and serve.
//!
//! Runs in the dispatcher. It knows of no file; what it counts are leases, connections and its own
//! errors, each of which it tells in a bounded number of bytes.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fdbroker_common::admin_link::{ERROR_BYTES_MAX, ERRORS_MAX, ErrorNote, LastLoad};
use fdbroker_common::limits::RULE_ERROR_BYTES_MAX;
use log::error;

use super::Dispatcher;
use super::leases::OpenerId;

impl Dispatcher {
    /// Logs an error and keeps it for `status`.
    pub(super) fn note_error(&mut self, mut message: String) {
        error!("{message}");
        message.truncate(message.floor_char_boundary(RULE_ERROR_BYTES_MAX));
        let status = &mut self.status;
        status.errors = status.errors.saturating_add(1);
        let short = message.get(..message.floor_char_boundary(ERROR_BYTES_MAX));
        let message_short = short.unwrap_or_default().to_owned();
        if status.last_errors.len() >= ERRORS_MAX {
            status.last_errors.remove(0);
        }
        status.last_errors.push(ErrorNote { at_s: unix_time(), message: message_short });
        status.last_error = message;
    }

    /// New rules serve.
    pub(super) fn note_loaded(&mut self) {
        self.status.loads = self.status.loads.saturating_add(1);
        self.status.loaded_at_s = unix_time();
        self.status.last_load = Some(LastLoad { at_s: unix_time(), refused: None });
    }

    /// New rules cannot be used.
    pub(super) fn note_refused(&mut self, reason: &str) {
        self.status.load_failures = self.status.load_failures.saturating_add(1);
        let reason = reason.get(..reason.floor_char_boundary(ERROR_BYTES_MAX));
        let refused = Some(reason.unwrap_or_default().to_owned());
        self.status.last_load = Some(LastLoad { at_s: unix_time(), refused });
    }

    /// An opener gets a worker: how long it has waited for its first one.
    pub(super) fn note_lent(&mut self, id: OpenerId, now: Instant) {
        let first = self.pool.held_by(id).len() <= 1;
        if let Some(opener) = self.openers.get_mut(&id).filter(|_| first) {
            self.status.worker_wait.observe(now.saturating_duration_since(opener.since));
            opener.begun.get_or_insert(opener.since);
        }
    }
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
