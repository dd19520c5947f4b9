//! One scan of one client: its targets, the walk through them, and what has come of it so far.
//!
//! Runs in the opener. Opens files only as fast as workers and client take them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use fdbroker_common::client_link::{OpenerToClient, Refusal, Report, ScanOptions, Target};
use fdbroker_common::details::{DetailOptions, Details};
use fdbroker_common::job_link::{Finding, Wanted};
use fdbroker_common::limits::{
    FILE_BYTES_MAX, FILE_DEADLINE_DEFAULT, FILE_DEADLINE_MAX, TARGETS_PER_MESSAGE_MAX,
};
use fdbroker_common::outcome::{Failure, Limit, Outcome};
use fdbroker_common::rule_table::RuleTable;
use fdbroker_common::totals::Totals;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::Contents;
use super::batch::{Pending, Queue, whole_name};
use super::evidence;
use super::exclude::Excludes;
use super::fleet::{Generation, Heard};
use super::open::OpenContext;
use super::open::node::ObjectId;
use super::recorder::Notes;
use super::reports::Client;
use super::walk::{Step, Walk, WalkOptions};
use crate::record_link::Object;

/// Most bytes of rule names in one report.
const RULE_NAMES_BYTES_MAX: usize = 16 * 1024;

/// A scan that goes on.
pub struct Scan {
    options: ScanOptions,
    walk_options: Rc<WalkOptions>,
    context: Rc<OpenContext>,
    /// With descriptors, or none of them if they are looked up by name.
    targets: VecDeque<(Target, Option<OwnedFd>)>,
    all_told: bool,
    /// Withheld until the contrary is known.
    contents: Contents,
    walk: Option<(u32, Rc<[u8]>, Walk)>,
    /// Bytes of all files that were opened to be scanned.
    bytes: u64,
    /// Files that wait for a worker.
    pub queue: Queue,
    /// What has become of files so far.
    pub totals: Totals,
    /// What is to be recorded of it.
    pub notes: Notes,
}

/// A file or directory that is reported: of which target, where beneath it, what the target is called, which
/// it is.
type Place = (u32, Vec<u8>, Rc<[u8]>, Option<ObjectId>);

impl Scan {
    /// Begins.
    ///
    /// # Errors
    /// The options cannot be met.
    pub fn new(
        options: ScanOptions,
        root: Option<OwnedFd>,
        context: Rc<OpenContext>,
    ) -> Result<Self, Refusal> {
        let no_links = options.follow_links && context.granted().is_some();
        if no_links || root.is_some_and(|root| !is_our_root(&root)) {
            return Err(Refusal::ForeignRoot);
        }
        let excludes = Excludes::new(&options.excludes).map_err(|_| Refusal::BadPattern)?;
        let walk_options = Rc::new(WalkOptions {
            one_filesystem: options.one_filesystem,
            follow_links: options.follow_links,
            excludes,
        });
        Ok(Self {
            options,
            walk_options,
            context,
            targets: VecDeque::new(),
            all_told: false,
            contents: Contents::Withheld,
            walk: None,
            bytes: 0,
            queue: Queue::default(),
            totals: Totals::default(),
            notes: Notes::default(),
        })
    }

    /// Time that one file may take.
    #[must_use]
    pub fn file_deadline(&self) -> Duration {
        let most = match self.context.limits().file_deadline_s {
            0 => FILE_DEADLINE_MAX,
            seconds => Duration::from_secs(u64::from(seconds)).min(FILE_DEADLINE_MAX),
        };
        match self.options.file_deadline_s {
            0 => FILE_DEADLINE_DEFAULT.min(most),
            seconds => Duration::from_secs(u64::from(seconds)).min(most),
        }
    }

    /// Largest file that is read.
    #[must_use]
    pub fn file_bytes_max(&self) -> u64 {
        let told = [self.options.file_bytes_max, self.context.limits().file_bytes_max];
        told.into_iter().filter(|bytes| *bytes > 0).fold(FILE_BYTES_MAX, u64::min)
    }

    /// Whether the client may read every file itself that is opened for it.
    pub fn set_contents(&mut self, contents: Contents) {
        self.contents = contents;
    }

    /// What is wanted of workers besides verdicts. A hash says what a content is to who can guess it.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let DetailOptions { sha256, matches, .. } = self.options.details;
        let shown = self.contents == Contents::Shown;
        Wanted { sha256: sha256 && shown, matches, data: matches && shown }
    }

    /// More targets.
    pub fn add(&mut self, targets: Vec<Target>, descriptors: Vec<OwnedFd>) {
        self.targets.extend(targets.into_iter().zip(descriptors.into_iter().map(Some)));
    }

    /// More targets, which are looked up by name.
    pub fn add_named(&mut self, targets: Vec<Target>) {
        self.targets.extend(targets.into_iter().map(|target| (target, None)));
    }

    /// Whether targets are looked up by name, beneath granted trees, and never descriptors.
    #[must_use]
    pub fn takes_names(&self) -> bool {
        self.context.granted().is_some()
    }

    /// No more targets.
    pub fn all_told(&mut self) {
        self.all_told = true;
    }

    /// Whether the client may still send targets.
    #[must_use]
    pub fn takes_targets(&self) -> bool {
        !self.all_told
    }

    /// Whether the next message of the client should be read now.
    #[must_use]
    pub fn wants_targets(&self) -> bool {
        self.targets.len() < TARGETS_PER_MESSAGE_MAX
    }

    /// Whether there is something left to open.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.walk.is_some() || !self.targets.is_empty()
    }

    /// Whether everything has been opened and dispatched.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.all_told && !self.has_work() && self.queue.is_empty()
    }

    /// Whether only the client knows how it goes on, once no worker has anything in hand.
    #[must_use]
    pub fn awaits_word(&self) -> bool {
        !self.all_told && !self.has_work() && self.queue.is_empty()
    }

    /// Opens the next file, or enters the next directory. With rules that look at names, a file whose
    /// name cannot be told whole is not judged.
    pub fn step(&mut self, client: &mut Client, wants_names: bool) {
        let Some((target, name, walk)) = &mut self.walk else {
            if let Some((target, descriptor)) = self.targets.pop_front() {
                let walk = Walk::new(
                    descriptor,
                    target.name.to_vec(),
                    Rc::clone(&self.walk_options),
                    Rc::clone(&self.context),
                );
                self.walk = Some((target.id, target.name.to_vec().into(), walk));
            }
            return;
        };
        let (target, target_name) = (*target, Rc::clone(name));
        let fresh = walk.is_fresh();
        let step = walk.next();
        let origin = walk.origin();
        if fresh {
            self.notes.target(&target_name, origin);
        }
        match step {
            Step::File { path, file } => {
                let (suspect, doubted, interruptions) = (false, false, 0);
                let pending =
                    Pending { target, path, target_name, file, suspect, doubted, interruptions };
                if wants_names && !pending.has_whole_name() {
                    return self.failed(client, pending, Failure::PathTooLong);
                }
                self.found(pending, client);
            }
            Step::Outcome { path, outcome, size } => {
                let id = origin.filter(|_| path.is_empty()).map(|about| about.id);
                self.report(client, (target, path, target_name, id), (size, 0), outcome, None);
            }
            Step::Pause => {}
            Step::End => self.walk = None,
        }
    }

    fn found(&mut self, pending: Pending, client: &mut Client) {
        let size = pending.size();
        let bytes = self.bytes.saturating_add(size);
        let bytes_max = self.context.limits().scan_bytes;
        let limit = if size > self.file_bytes_max() {
            Limit::FileSize
        } else if bytes_max > 0 && bytes > bytes_max {
            Limit::ScanSize
        } else {
            self.bytes = bytes;
            return self.queue.push(pending);
        };
        let outcome = Outcome::Incomplete { limit, read: 0, total: size };
        self.report(client, place(pending), (size, 0), outcome, None);
    }

    /// A worker has answered.
    pub fn answered(&mut self, client: &mut Client, heard: Heard, rules: &Generation) {
        let Heard { pending, answer, evidence } = heard;
        let (size, options) = (pending.size(), self.options.details);
        let outcome = outcome(&answer.finding, answer.read, size, &rules.table);
        let details = options.is_any().then(|| {
            let (named, names) = match &outcome {
                Outcome::Match { rules } => (rules.len(), rules.iter().map(String::len).sum()),
                _ => (0, 0_usize),
            };
            let bytes = names.saturating_add(pending.path.len());
            evidence::details((&answer, evidence), named, options, &rules.entries, bytes)
        });
        let read = answer.read.min(size);
        self.report(client, place(pending), (size, read), outcome, details);
    }

    /// A file could not be judged.
    pub fn failed(&mut self, client: &mut Client, pending: Pending, failure: Failure) {
        let size = pending.size();
        self.report(client, place(pending), (size, 0), Outcome::Error(failure), None);
    }

    fn report(
        &mut self,
        client: &mut Client,
        (target, path, name, id): Place,
        (size, read): (u64, u64),
        outcome: Outcome,
        details: Option<Details>,
    ) {
        self.totals.add(&outcome, read);
        self.notes.file(&outcome, || {
            let id = id.map(|id| (id.device, id.inode));
            Object::named(whole_name(&name, &path), id, size)
        });
        if self.options.omit_clean && outcome == Outcome::Clean {
            return;
        }
        client.report(Report { target, path: path.into(), size, outcome }, details);
    }

    /// Tells the client that all is done, and with what result.
    pub fn finish(&self, client: &mut Client) {
        client.tell(OpenerToClient::Done(self.totals));
    }
}

fn place(pending: Pending) -> Place {
    (pending.target, pending.path, pending.target_name, Some(pending.file.id()))
}

/// What a worker's finding means for the caller. `Clean` needs every byte to have been read.
fn outcome(finding: &Finding, read: u64, size: u64, table: &RuleTable) -> Outcome {
    match finding {
        Finding::Clean if read == size => Outcome::Clean,
        Finding::Clean => Outcome::Error(Failure::Engine),
        Finding::Match(rules) => {
            let mut bytes = 0_usize;
            let names: Option<Vec<String>> =
                rules.iter().map(|rule| table.name(*rule).map(str::to_owned)).collect();
            match names {
                // A rule that does not exist; `Worker::hear` lets none pass.
                None => Outcome::Error(Failure::Engine),
                Some(mut names) => {
                    names.retain(|name| {
                        bytes = bytes.saturating_add(name.len());
                        bytes <= RULE_NAMES_BYTES_MAX
                    });
                    Outcome::Match { rules: names }
                }
            }
        }
        Finding::Incomplete(limit) => Outcome::Incomplete { limit: *limit, read, total: size },
        Finding::Unstable(change) => Outcome::Unstable(*change),
        Finding::ReadError(errno) => Outcome::Error(Failure::System(*errno)),
        Finding::Refused => Outcome::Error(Failure::Refused),
        Finding::EngineError => Outcome::Error(Failure::Engine),
    }
}

/// Whether this is the directory, on the very mount, that absolute links are followed from here. A
/// container has others: there a link would lead to files of the host.
fn is_our_root(theirs: &OwnedFd) -> bool {
    let look = |root: BorrowedFd<'_>| {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        // Not of a server: it might keep silent.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let about = statx(root, c"", flags, wanted)?;
        let told = about.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        let device = (about.stx_dev_major, about.stx_dev_minor);
        Ok::<_, Errno>(told.then_some((device, about.stx_ino, about.stx_mnt_id)))
    };
    let ours = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    match (ours.and_then(|ours| look(ours.as_fd())), look(theirs.as_fd())) {
        (Ok(Some(ours)), Ok(Some(theirs))) => ours == theirs,
        _ => false,
    }
}
