//! The opener: acts for one caller, with the caller's rights, and is expendable.
//!
//! A fresh process that is root only until it has been told whom to serve; then it has the caller's
//! uid, gid and groups and no capability (or, for callers who may read everything, a uid of its own
//! with `DAC_READ_SEARCH`, for granted trees fenced to these), and its own fence. It parses what the client says, resolves, walks, opens
//! and passes descriptors to the workers lent to it, one client at a time. It writes no file,
//! starts nothing, connects to nothing, and never reads a file that is scanned.

pub mod batch;
pub mod evidence;
pub mod exclude;
pub mod filesystem;
pub mod fleet;
pub mod grants;
pub mod lending;
pub mod open;
pub mod pace;
pub mod patience;
pub mod recorder;
pub mod reports;
pub mod scan;
pub mod session;
pub mod wait;
pub mod walk;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::lease_link::{DispatcherToOpener, OpenerToDispatcher};
use fdbroker_common::limits::GROUPS_MAX;
use fdbroker_common::opener_link::{BrokerToOpener, Identity, Limits, OpenerToBroker, TreeGrant};
use fdbroker_common::stdio::take_channel;

use crate::confine;
use crate::root::privilege;
use crate::root::sanitize::ignore_requests_to_end;
use grants::GrantedTrees;
use open::OpenContext;
use recorder::Recorder;
use session::Session;

/// First argument that selects this role.
pub const ROLE: &str = "--opener";

/// Whether this process could read a file that its caller could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It has the caller's own rights: what it reads, the caller may see.
    OfTheCaller,
    /// It may read more, so that of what it reads only root may see anything but verdicts and places.
    More,
    /// It reads what its caller was granted to have scanned, not to see: nobody sees anything but
    /// verdicts and places, root neither.
    OfGrants,
}

/// Whether a client may see contents of the files that are scanned for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// It could read them itself.
    Shown,
    /// It gets verdicts and places alone.
    Withheld,
}

impl Rights {
    /// What a client may see, by the uid that the kernel says it has, if it says any.
    #[must_use]
    pub fn contents_for(self, client: Option<u32>) -> Contents {
        match (self, client) {
            (Self::OfTheCaller, _) | (Self::More, Some(0)) => Contents::Shown,
            (Self::More, _) | (Self::OfGrants, _) => Contents::Withheld,
        }
    }
}

/// The opener's end of the link to the broker.
pub type BrokerChannel = Channel<OpenerToBroker, BrokerToOpener>;
/// The opener's end of the lease link.
pub type DispatcherChannel = Channel<OpenerToDispatcher, DispatcherToOpener>;

/// Serves until the broker closes the link.
///
/// # Errors
/// When the identity cannot be taken, or the broker breaks the protocol: the process ends.
pub fn run() -> io::Result<()> {
    ignore_requests_to_end()?;
    let mut broker: BrokerChannel = take_channel()?;
    let recorder = Recorder::take_stdout()?;
    let Told { lease_link, scanner_uid, rights, limits, trees } = become_told(&mut broker)?;
    let dispatcher = DispatcherChannel::adopt(lease_link)?;
    let trees = trees.map(GrantedTrees::open);
    let context = OpenContext::new()?;
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_name(c"fdb-opener")?;
    // From here on a stranger's bytes are parsed: nothing of ours leads to the log any more.
    nix::unistd::dup2_stderr(std::fs::File::options().write(true).open("/dev/null")?)?;
    match &trees {
        Some(trees) => confine::granted_opener(trees.directories())?,
        None => confine::opener()?,
    }
    let context = Rc::new(context.bounded(limits).granting(trees));
    broker.set_nonblocking(true)?;
    dispatcher.set_nonblocking(true)?;
    let links = (broker, dispatcher, recorder);
    match Session::new(links, scanner_uid, (context, rights)).serve() {
        Ok(()) | Err(ChannelError::Closed) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// What an opener is told before it serves.
struct Told {
    lease_link: OwnedFd,
    scanner_uid: u32,
    rights: Rights,
    limits: Limits,
    /// Only for an opener that serves a grant.
    trees: Option<Vec<TreeGrant>>,
}

/// Hears whom to serve, becomes that, and cannot go back.
fn become_told(broker: &mut BrokerChannel) -> io::Result<Told> {
    let mut groups = Vec::new();
    let mut grants = Vec::new();
    let (identity, scanner_uid, limits, lease_link) = loop {
        let (message, mut link) = broker.receive().map_err(io::Error::other)?;
        match (message, link.pop()) {
            (BrokerToOpener::Trees(grant), None) => grants.push(grant),
            (BrokerToOpener::Groups(more), None) if groups.len() <= GROUPS_MAX => {
                groups.extend(more)
            }
            (BrokerToOpener::Become { identity, scanner_uid, limits }, Some(link))
                if matches!(identity, Identity::Granted { .. }) != grants.is_empty() =>
            {
                break (identity, scanner_uid, limits, link);
            }
            _ => return Err(io::Error::other("the broker broke the protocol")),
        }
    };
    let rights = match identity {
        Identity::Caller { .. } | Identity::Unchanged => Rights::OfTheCaller,
        Identity::ReadAll { .. } => Rights::More,
        Identity::Granted { .. } => Rights::OfGrants,
    };
    match identity {
        Identity::Caller { uid, gid } => privilege::become_user(uid, gid, &groups)?,
        Identity::ReadAll { uid } | Identity::Granted { uid } => privilege::become_reader(uid)?,
        Identity::Unchanged if nix::unistd::geteuid().is_root() => {
            return Err(io::Error::other("an opener never works as root"));
        }
        Identity::Unchanged => privilege::clear_capabilities()?,
    }
    let trees = (!grants.is_empty()).then_some(grants);
    Ok(Told { lease_link, scanner_uid, rights, limits, trees })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_for_who_could_read_them_and_for_root_and_on_a_grant_for_nobody() {
        for client in [Some(0), Some(2000), None] {
            assert_eq!(Rights::OfTheCaller.contents_for(client), Contents::Shown);
        }
        assert_eq!(Rights::More.contents_for(Some(0)), Contents::Shown);
        for client in [Some(2000), Some(65_534), None] {
            assert_eq!(Rights::More.contents_for(client), Contents::Withheld);
        }
        for client in [Some(0), Some(2000), None] {
            assert_eq!(Rights::OfGrants.contents_for(client), Contents::Withheld);
        }
    }
}
