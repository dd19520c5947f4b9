//! What the opener tells the auditor: what it was asked for and what came of it.
//!
//! Runs in the opener. An auditor that takes no more makes the opener open no more files: nothing is left
//! out. Without an auditor nothing is gathered.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::generation::GenerationId;
use fdbroker_common::limits::MESSAGE_BYTES_MAX;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use nix::poll::PollFlags;

use super::open::node::About;
use crate::auditor::plan::AuditFiles;
use crate::record_link::{
    AuditorToOpener, Ending, Kind, NOTES_PER_MESSAGE_MAX, Note, Object, OpenerToAuditor, RULES_MAX,
};

/// Targets of a scan that are told, unless all files are.
const TARGETS_MAX: u64 = 8;

/// What the notes of a message may take.
const NOTES_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;

/// The opener's end of the record link.
type AuditorChannel = Channel<OpenerToAuditor, AuditorToOpener>;

/// The way to the auditor, if there is one.
#[derive(Default)]
pub struct Recorder {
    channel: Option<AuditorChannel>,
    files: Option<AuditFiles>,
    connections: u32,
    /// Whether a scan has begun that has not ended.
    begun: bool,
    gathered: VecDeque<Note>,
    unsent: Option<OpenerToAuditor>,
}

/// Notes of one scan.
#[derive(Debug, Default)]
pub struct Notes {
    /// Of which files; none as long as that is not known, or for ever.
    pub files: Option<AuditFiles>,
    gathered: Vec<Note>,
    targets: u64,
}

impl Recorder {
    /// Takes the record link that stands on standard output, if one does, and puts /dev/null in its place.
    ///
    /// # Errors
    /// As dup(2) and open(2).
    pub fn take_stdout() -> io::Result<Self> {
        let link = io::stdout().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdout(std::fs::File::options().write(true).open("/dev/null")?)?;
        let channel = match AuditorChannel::adopt(link) {
            Ok(channel) => channel,
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error),
        };
        channel.set_nonblocking(true)?;
        Ok(Self { channel: Some(channel), ..Self::default() })
    }

    /// Of which files notes are wanted, once that is known.
    #[must_use]
    pub fn files(&self) -> Option<AuditFiles> {
        self.files
    }

    /// Descriptor to poll, and for what.
    #[must_use]
    pub fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.unsent.is_some());
        self.channel.as_ref().map(|channel| (channel.as_fd(), events))
    }

    /// Whether everything that was noted is told.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.channel.is_none() || (self.files.is_some() && self.unsent.is_none())
    }

    /// Another client.
    pub fn welcome(&mut self) {
        self.connections = self.connections.wrapping_add(1);
    }

    /// A scan begins.
    pub fn begin(&mut self) {
        if self.channel.is_some() {
            self.begun = true;
            self.gathered.push_back(Note::Begin { connection: self.connections });
        }
    }

    /// What has been noted of the scan.
    pub fn add(&mut self, notes: &mut Notes) {
        self.gathered.extend(notes.gathered.drain(..));
    }

    /// The scan that has begun, if any, has ended.
    pub fn end(
        &mut self,
        ending: Ending,
        generation: Option<GenerationId>,
        targets: u64,
        totals: Totals,
    ) {
        if std::mem::take(&mut self.begun) {
            self.gathered.push_back(Note::End { ending, targets, generation, totals });
        }
    }

    /// Reads what the auditor says.
    ///
    /// # Errors
    /// It has gone, or broke the protocol: without it nothing is done.
    pub fn hear(&mut self) -> Result<(), ChannelError> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        loop {
            match (channel.receive(), self.files) {
                (Ok((AuditorToOpener::Tell(files), _)), None) => self.files = Some(files),
                (Ok(_), Some(_)) => return Err(ChannelError::Closed),
                (Err(ChannelError::WouldBlock), _) => return Ok(()),
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// Tells what the auditor takes now.
    ///
    /// # Errors
    /// As [`Recorder::hear`].
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        loop {
            if self.unsent.is_none() {
                self.unsent = cut(&mut self.gathered);
            }
            let Some(message) = &self.unsent else {
                return Ok(());
            };
            match channel.send(message, &[]) {
                Ok(()) => self.unsent = None,
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// As many notes as a message takes.
fn cut(gathered: &mut VecDeque<Note>) -> Option<OpenerToAuditor> {
    let mut bytes = 0_usize;
    let mut count = 0_usize;
    for note in gathered.iter().take(NOTES_PER_MESSAGE_MAX) {
        bytes = bytes.saturating_add(note.bytes_max());
        if bytes > NOTES_BYTES_MAX {
            break;
        }
        count = count.saturating_add(1);
    }
    (count > 0).then(|| OpenerToAuditor::Notes(gathered.drain(..count).collect()))
}

impl Notes {
    /// Targets so far.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.targets
    }

    /// The scan has come to a target.
    pub(super) fn target(&mut self, name: &[u8], about: Option<About>) {
        self.targets = self.targets.saturating_add(1);
        let wanted = match self.files {
            None => false,
            Some(AuditFiles::All) => true,
            Some(_) => self.targets <= TARGETS_MAX,
        };
        if wanted {
            let id = about.map(|about| (about.id.device, about.id.inode));
            let kind = about.map_or(Kind::Unknown, |about| about.kind.into());
            let object = Object::named(name.to_vec(), id, about.map_or(0, |about| about.size));
            self.gathered.push(Note::Target(object, kind));
        }
    }

    /// What became of a file, if that is to be told.
    pub fn file(&mut self, outcome: &Outcome, object: impl FnOnce() -> Object) {
        let wanted = match self.files {
            None | Some(AuditFiles::None) => false,
            Some(AuditFiles::Findings) => !matches!(outcome, Outcome::Clean | Outcome::Skipped(_)),
            Some(AuditFiles::All) => true,
        };
        if !wanted {
            return;
        }
        let (outcome, unnamed) = match outcome {
            Outcome::Match { rules } => {
                let named = rules.iter().take(RULES_MAX).cloned().collect();
                let unnamed = rules.len().saturating_sub(RULES_MAX);
                (Outcome::Match { rules: named }, u32::try_from(unnamed).unwrap_or(u32::MAX))
            }
            other => (other.clone(), 0),
        };
        self.gathered.push(Note::File { object: object(), outcome, unnamed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &[u8]) -> Object {
        Object::named(name.to_vec(), Some((1, 2)), 3)
    }

    fn matched(rules: usize) -> Outcome {
        Outcome::Match { rules: (0..rules).map(|nth| format!("{nth:0128}")).collect() }
    }

    #[test]
    fn what_was_noted_fits_messages_whatever_the_names_and_in_order() {
        let mut notes = Notes { files: Some(AuditFiles::All), ..Notes::default() };
        for _ in 0..200 {
            notes.file(&matched(1024), || object(&[b'x'; 100_000]));
            notes.file(&Outcome::Clean, || object(b"small"));
        }
        let mut gathered: VecDeque<Note> = notes.gathered.drain(..).collect();
        let all: Vec<Note> = gathered.iter().cloned().collect();
        let mut told = Vec::new();
        while let Some(message) = cut(&mut gathered) {
            let mut bytes = Vec::new();
            fdbroker_common::wire::encode(&message, &mut bytes).expect("it fits");
            let OpenerToAuditor::Notes(notes) = message;
            told.extend(notes);
        }
        assert_eq!(told, all);
        let Note::File { object, unnamed, .. } = &told[0] else { panic!("{:?}", told[0]) };
        assert!((object.name.len(), object.cut, *unnamed) == (4096, true, 1024 - 32));
    }

    #[test]
    fn clean_files_are_told_only_when_all_are_asked_for_and_none_before_that_is_known() {
        let count = |files, outcome: &Outcome| {
            let mut notes = Notes { files, ..Notes::default() };
            notes.file(outcome, || object(b"x"));
            notes.gathered.len()
        };
        let levels = [AuditFiles::None, AuditFiles::Findings, AuditFiles::All];
        assert_eq!(levels.map(|files| count(Some(files), &Outcome::Clean)), [0, 0, 1]);
        assert_eq!(levels.map(|files| count(Some(files), &Outcome::Denied)), [0, 1, 1]);
        assert_eq!(levels.map(|files| count(Some(files), &matched(1))), [0, 1, 1]);
        assert_eq!(count(None, &matched(1)), 0);
    }
}
