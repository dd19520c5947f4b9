//! Reloads by themselves, when the rules directory changes (`--watch-rules`).
//!
//! Runs in the dispatcher, which opens nothing: each rule reader brings a watch that it has set up before
//! it looked at the directory, so no change is missed between two loads. What is read from it are the
//! kernel's events, of which only the names of files are looked at.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_common::channel::ChannelError;
use log::{info, warn};
use rustix::io::{Errno, read};

use super::Dispatcher;
use crate::rules::is_rule_file;

/// After a change, rules are loaded once there is quiet for so long, and after so long in any case: a
/// directory is seldom changed by one write.
const QUIET: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// If there is no watch, because the directory is not there, for instance: how soon rules are tried again.
const RETRY: Duration = Duration::from_secs(30);
/// What is read at once, room for some events with the longest name; and how often in a turn.
const READ_BYTES: usize = 4096;
const READS_PER_TURN: usize = 16;
/// Bytes of an event before its name: watch, mask, cookie, length of the name.
const HEADER_BYTES: usize = 16;

/// What is known of changes in the rules directory.
#[derive(Debug, Default)]
pub struct RulesWatch {
    watch: Option<OwnedFd>,
    /// Whether the watch was set up by the reader of the last load.
    renewed: bool,
    /// The first and the last change since rules were loaded.
    changed: Option<(Instant, Instant)>,
    /// When rules are tried again although nobody says that they have changed.
    retry: Option<Instant>,
}

impl RulesWatch {
    /// Descriptor to poll.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// A load begins, which sees all changes so far.
    pub fn load_begins(&mut self) {
        self.changed = None;
        self.retry = None;
        self.renewed = false;
    }

    /// The reader of that load has set up a watch; what comes from now on is seen by it.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn renew(&mut self, watch: OwnedFd) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&watch)?;
        rustix::fs::fcntl_setfl(&watch, flags | rustix::fs::OFlags::NONBLOCK)?;
        self.watch = Some(watch);
        self.renewed = true;
        Ok(())
    }

    /// A load has failed. If no watch could be set up for it, perhaps there is no directory now.
    pub fn load_failed(&mut self, now: Instant) {
        if !self.renewed {
            self.watch = None;
            self.retry = now.checked_add(RETRY);
        }
    }

    /// All rule files have come. Whether there is a watch of their directory.
    #[must_use]
    fn has_come_with_files(&mut self) -> bool {
        if !self.renewed {
            self.watch = None;
        }
        self.renewed
    }

    /// Reads what the kernel says. Nothing more is heard from a watch that fails.
    fn hear(&mut self, now: Instant) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_PER_TURN {
            let Some(watch) = &self.watch else {
                return;
            };
            match read(watch, &mut buffer) {
                Ok(length @ 1..) => {
                    let events = buffer.get(..length).unwrap_or_default();
                    if concerns_rules(events) {
                        let first = self.changed.map_or(now, |(first, _)| first);
                        self.changed = Some((first, now));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(0) | Err(_) => {
                    self.watch = None;
                    self.retry = now.checked_add(RETRY);
                }
            }
        }
    }

    /// When rules are to be loaded.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let settled = self.changed.and_then(|(first, last)| {
            Some(last.checked_add(QUIET)?.min(first.checked_add(DELAY_MAX)?))
        });
        settled.into_iter().chain(self.retry).min()
    }
}

/// Whether any of these events (inotify(7)) is about a rule file, or has no name: then it is about the
/// directory itself, or some were lost.
fn concerns_rules(mut events: &[u8]) -> bool {
    while let Some((header, rest)) = events.split_at_checked(HEADER_BYTES) {
        let length = header.last_chunk::<4>().map_or(0, |length| u32::from_ne_bytes(*length));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((name, rest)) = rest.split_at_checked(length) else {
            return true;
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() || is_rule_file(name) {
            return true;
        }
        events = rest;
    }
    false
}

impl Dispatcher {
    /// Something has changed in the rules directory.
    pub(super) fn hear_rules_watch(&mut self) {
        self.rules_watch.hear(Instant::now());
    }

    /// All rule files have come. Without a directory, and so without files, there is nothing to be watched.
    pub(super) fn check_rules_watch(&mut self, has_files: bool) {
        let is_watched = self.rules_watch.has_come_with_files();
        if self.plan.watch_rules && has_files && !is_watched {
            warn!("the rules directory cannot be watched; see fs.inotify.max_user_instances");
        }
    }

    /// Loads rules that have changed, once the directory is quiet, and no other load goes on.
    pub(super) fn reload_changed(&mut self, now: Instant) -> Result<(), ChannelError> {
        if self.next_rules_load().is_none_or(|at| at > now) {
            return Ok(());
        }
        info!("the rules directory has changed");
        self.read_rules()
    }

    /// When that will be, if nothing else happens.
    pub(super) fn next_rules_load(&self) -> Option<Instant> {
        let may =
            self.plan.watch_rules && self.scanner.is_connected() && !self.scanner.is_loading();
        self.rules_watch.due().filter(|_| may)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_gathered_until_there_is_quiet_but_not_for_ever() {
        let begun = Instant::now();
        let after = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut watch = RulesWatch::default();
        assert_eq!(watch.due(), None);
        watch.changed = Some((begun, after(300)));
        assert_eq!(watch.due(), Some(after(800)));
        watch.changed = Some((begun, after(4900)));
        assert_eq!(watch.due(), Some(after(5000)));
        watch.load_begins();
        assert_eq!(watch.due(), None);
        watch.load_failed(begun);
        assert_eq!(watch.due(), Some(after(30_000)));
    }

    fn event(name: &[u8]) -> Vec<u8> {
        let length = name.len().next_multiple_of(16);
        let mut bytes = vec![0; 12];
        bytes.extend(u32::try_from(length).unwrap().to_ne_bytes());
        bytes.extend(name);
        bytes.resize(HEADER_BYTES + length, 0);
        bytes
    }

    #[test]
    fn only_rule_files_and_the_directory_itself_matter() {
        let swap = event(b".a.yar.swp");
        for (events, concerns) in [
            (vec![event(b"a.yar")], true),
            (vec![swap.clone(), event(b"notes.txt"), event(b".hidden.yar")], false),
            (vec![swap.clone(), event(b"b.yara")], true),
            (vec![event(b"")], true),
            (vec![swap[..20].to_vec()], true),
            (vec![], false),
        ] {
            assert_eq!(concerns_rules(&events.concat()), concerns, "{events:?}");
        }
    }
}
