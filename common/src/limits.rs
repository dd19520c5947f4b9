//! Every bound of the protocol and of the processes, in one place, units last in the name.
//!
//! Nothing here is tuned at run time: both ends of a link refuse what is beyond these.

mod scan;

use std::time::Duration;

pub use scan::*;

/// Version byte that opens every message. Bumped with any change of any message type.
pub const PROTOCOL_VERSION: u8 = 1;

/// Largest message, header included. Below the default `SO_SNDBUF`, so that one always fits.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// `SCM_MAX_FD` of the kernel: a message with more descriptors fails with `EINVAL` (unix(7)).
pub const DESCRIPTORS_PER_MESSAGE_MAX: usize = 253;

/// Longest reason why rules were refused.
pub const RULE_ERROR_BYTES_MAX: usize = 4 * 1024;

/// `NGROUPS_MAX` of the kernel, and how many groups one message carries.
pub const GROUPS_MAX: usize = 65_536;

/// Groups in one message of an identity.
pub const GROUPS_PER_MESSAGE_MAX: usize = 8_192;

/// Most openers in all, and of one uid. Further connections wait.
pub const OPENERS_MAX: usize = 256;

/// Of these, kept for root.
pub const OPENERS_FOR_ROOT: usize = 16;

/// Most openers of one uid.
pub const OPENERS_PER_UID_MAX: usize = 64;

/// Most accepted connections that wait for an opener, in all.
pub const CONNECTIONS_WAITING_MAX: usize = 512;

/// Most accepted connections of one uid that wait for an opener.
pub const CONNECTIONS_WAITING_PER_UID_MAX: usize = 256;

/// Most other children of a broker at once: dispatcher, scanner, rule readers, and what hangs.
pub const CHILDREN_MAX: usize = 512;

/// Messages of one peer that are read before the others have their turn.
pub const MESSAGES_PER_TURN: usize = 32;

/// How long an opener without a client is kept for the next connection of the same caller.
pub const OPENER_IDLE: Duration = Duration::from_secs(20);

/// A broker with sockets does not start with a lower limit on open files. It needs one descriptor for
/// each opener and each connection that waits, and its dispatcher one for each opener and each worker.
pub const DESCRIPTORS_MIN: u64 = 1024;
