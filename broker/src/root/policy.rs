//! Authorization: who is served, and under which identity files are opened for them. Pure.
//!
//! Runs in the broker. Decides on peer credentials alone; no path, no message, no file.

use fdbroker_common::opener_link::Identity;
use fdbroker_common::refusal::Refusal;

use super::peer::Peer;
use super::settings::Mode;

/// The decision on one connection.
#[derive(Debug)]
#[must_use]
pub enum Authorization {
    /// Serve it under this grant.
    Allowed(Grant),
    /// Refuse it.
    Denied(Refusal),
}

/// For whom an opener works, and as whom. Two connections with equal grants may share an opener and
/// a worker; no others ever do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    caller_uid: u32,
    identity: Identity,
    groups: Vec<u32>,
}

impl Grant {
    /// The user who asks.
    #[must_use]
    pub fn caller_uid(&self) -> u32 {
        self.caller_uid
    }

    /// The identity of the opener.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Supplementary groups of the opener.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }
}

/// Every local user may have scanned what they can read themselves, root everything. A personal
/// broker serves its own user alone.
pub fn authorise(peer: &Peer, mode: Mode) -> Authorization {
    let (identity, groups) = match mode {
        // uid 0 without capabilities would still be root for the files that it owns.
        Mode::System { reader_uid, .. } if peer.uid == 0 => {
            (Identity::ReadAll { uid: reader_uid }, Vec::new())
        }
        Mode::System { .. } => {
            (Identity::Caller { uid: peer.uid, gid: peer.gid }, peer.groups.clone())
        }
        Mode::Personal { uid } if uid == peer.uid => (Identity::Unchanged, Vec::new()),
        Mode::Personal { .. } => return Authorization::Denied(Refusal::NotAllowed),
    };
    Authorization::Allowed(Grant { caller_uid: peer.uid, identity, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: Mode = Mode::System { scanner: (65_534, 65_534), reader_uid: 65_533 };

    fn peer(uid: u32) -> Peer {
        Peer { uid, gid: 100, groups: vec![100, 27], pid: 1 }
    }

    fn grant(peer: &Peer, mode: Mode) -> Grant {
        match authorise(peer, mode) {
            Authorization::Allowed(grant) => grant,
            Authorization::Denied(refusal) => panic!("refused: {refusal}"),
        }
    }

    #[test]
    fn a_user_is_served_with_exactly_their_own_identity() {
        let grant = grant(&peer(2000), SYSTEM);
        assert_eq!(grant.identity(), Identity::Caller { uid: 2000, gid: 100 });
        assert_eq!(grant.groups(), [100, 27]);
    }

    #[test]
    fn root_is_served_by_an_opener_that_is_not_root() {
        let grant = grant(&peer(0), SYSTEM);
        assert_eq!(grant.identity(), Identity::ReadAll { uid: 65_533 });
        assert!(grant.groups().is_empty());
    }

    #[test]
    fn a_personal_broker_serves_nobody_else_not_even_root() {
        for uid in [0, 2001] {
            assert!(matches!(
                authorise(&peer(uid), Mode::Personal { uid: 2000 }),
                Authorization::Denied(Refusal::NotAllowed)
            ));
        }
    }

    #[test]
    fn grants_of_different_groups_are_different() {
        let mut other = peer(2000);
        other.groups.pop();
        assert_ne!(grant(&peer(2000), SYSTEM), grant(&other, SYSTEM));
    }
}
