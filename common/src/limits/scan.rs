//! The bounds that no process with root's rights ever reaches: of scans, rules, workers and clients.

use std::time::Duration;

use super::DESCRIPTORS_PER_MESSAGE_MAX;

/// Longest path in a message. Longer ones are reported cut, as `error`, and not descended.
pub const PATH_BYTES_MAX: usize = 40 * 1024;

/// Most targets in one message of a client.
pub const TARGETS_PER_MESSAGE_MAX: usize = 64;

/// Most exclude patterns in one scan, and the longest of them.
pub const EXCLUDES_MAX: usize = 256;

/// Longest exclude pattern.
pub const EXCLUDE_BYTES_MAX: usize = 1024;

/// Most files in one batch for a worker, below [`DESCRIPTORS_PER_MESSAGE_MAX`].
pub const BATCH_FILES_MAX: usize = 64;

/// A batch is cut when its files hold more than this together.
pub const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A worker that keeps up has at most this many batches before it, together not more than two whole ones.
pub const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// Most files in one answer message of a worker, and most rules told for one file.
pub const ANSWERS_PER_MESSAGE_MAX: usize = DESCRIPTORS_PER_MESSAGE_MAX;

/// Most rules that are named for one file; further ones are left out.
pub const RULES_PER_FILE_MAX: usize = 1024;

/// Most reports in one message to a client.
pub const REPORTS_PER_MESSAGE_MAX: usize = 512;

/// A report message is sent once its paths and names exceed this.
pub const REPORT_BYTES_SOFT_MAX: usize = 16 * 1024;

/// Largest file that is read, also the default of `--max-filesize`. Larger ones are `incomplete`.
pub const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Most bytes taken from a pipe or terminal on standard input.
pub const STREAM_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most rule files of one generation, the largest of them, and the longest name.
pub const RULE_FILES_MAX: usize = 4096;

/// Largest rule file.
pub const RULE_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Longest name of a rule file (`NAME_MAX`).
pub const RULE_FILE_NAME_BYTES_MAX: usize = 255;

/// Most rule files in one message.
pub const RULE_FILES_PER_MESSAGE_MAX: usize = 64;

/// Most rules of one generation.
pub const RULES_MAX: usize = 1_000_000;

/// Largest table of rules.
pub const RULE_TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most places of matches that are told of one file, and most bytes of the file with each.
pub const MATCHES_PER_FILE_MAX: usize = 64;

/// Most bytes of the file that are told with a match.
pub const MATCH_DATA_BYTES_MAX: usize = 64;

/// Most tags, and most metadata, that are told of one rule.
pub const RULE_TAGS_MAX: usize = 64;

/// Most metadata that is told of one rule.
pub const RULE_METADATA_MAX: usize = 64;

/// Longer text in metadata is cut.
pub const META_TEXT_BYTES_MAX: usize = 1024;

/// Patterns of one rule of which matches are told.
pub const RULE_PATTERNS_MAX: usize = 1024;

/// Most workers of one broker.
pub const WORKERS_MAX: u32 = 256;

/// Most connections to the admin socket at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;

/// A caller that holds a worker longer than this gives it up when another caller waits.
pub const LEASE_QUANTUM: Duration = Duration::from_millis(100);

/// A recalled worker that is not returned after this no longer keeps others from being lent: its opener
/// has a large file in work, hangs, or was stopped by its caller.
pub const RECALL_OVERDUE: Duration = Duration::from_secs(1);

/// A recalled worker that is not returned after this is killed. An honest opener returns it after the
/// file in work, which has a deadline of its own, so this is for openers that do not listen.
pub const RECALL_GRACE: Duration = Duration::from_secs(300);

/// How long a request waits for a scanner before the client is told that there is none.
pub const SCANNER_WAIT: Duration = Duration::from_secs(5);

/// A template must fork, and a supervisor start a template, within this.
pub const SCANNER_ANSWER: Duration = Duration::from_secs(10);

/// A worker that has not ended this long after it was to be ended is given up: it hangs in the kernel.
pub const WORKER_END: Duration = Duration::from_secs(5);

/// Rules must be compiled, sealed and tested within this.
pub const TEMPLATE_START: Duration = Duration::from_secs(300);

/// Deadline for one file, unless the client asks for another.
pub const FILE_DEADLINE_DEFAULT: Duration = Duration::from_secs(120);

/// Longest deadline that a client may ask for.
pub const FILE_DEADLINE_MAX: Duration = Duration::from_secs(3600);

/// The opener tells a waiting client at least this often that it is alive.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A client gives up when its opener has been silent for this long.
pub const OPENER_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Directories that a walk holds open at once; deeper ones are reopened by `..` and compared.
pub const OPEN_DIRECTORIES_MAX: usize = 64;

/// A client that has an opener must begin its first scan within this.
pub const START_WAIT: Duration = Duration::from_secs(10);

/// A client that owes the next word, within a scan or between two, is dismissed after this.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// The same for one that does not take what it is told, or may still be reading it.
pub const CLIENT_UNREAD_MAX: Duration = Duration::from_secs(600);

/// A client that waits for the source of its targets says so at least this often.
pub const WAITING_INTERVAL: Duration = Duration::from_secs(10);
