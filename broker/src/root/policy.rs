//! Authorization: who is served, and under which identity files are opened for them. Pure.
//!
//! Runs in the broker. Decides on peer credentials alone; no path, no message, no file.

use fdbroker_common::limits::{GROUPS_PER_MESSAGE_MAX, OPENERS_PER_UID_MAX};
use fdbroker_common::opener_link::{BrokerToOpener, Identity};
pub use fdbroker_common::opener_link::{Limits, Subjects, TreeGrant};
use fdbroker_common::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::settings::Mode;

/// What the administrator has written, without its names: users and groups are numbers here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Who is not served at all.
    pub denied: Subjects,
    /// What some may take; the first entry that names a user counts.
    pub limits: Vec<(Subjects, Limits)>,
    /// Trees that some may have scanned beyond what they can read themselves.
    pub grants: Vec<TreeGrant>,
}

/// Whether these name the user of a peer, or any group that it is in.
pub(crate) fn contain(subjects: &Subjects, peer: &Peer) -> bool {
    let mut groups = peer.groups.iter().chain([&peer.gid]);
    subjects.uids.contains(&peer.uid) || groups.any(|gid| subjects.gids.contains(gid))
}

/// What a client asks for. It says so by the socket that it connects to, and by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What it can read itself.
    Own,
    /// What it has been granted.
    Granted,
}

/// For whom an opener works, and as whom. Two connections with equal grants may share an opener and
/// a worker; no others ever do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The user who asks.
    pub(super) caller_uid: u32,
    /// As whom the opener works.
    pub(super) identity: Identity,
    groups: Vec<u32>,
    /// Of a granted connection, what it rests on.
    trees: Vec<TreeGrant>,
    limits: Limits,
}

impl Grant {
    /// How many connections of that user are served at once.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        let told = usize::try_from(self.limits.connections).ok().filter(|told| *told > 0);
        told.map_or(OPENERS_PER_UID_MAX, |told| told.min(OPENERS_PER_UID_MAX))
    }

    /// What an opener is told; `Become` is the last.
    pub fn messages(&self, scanner_uid: u32) -> impl Iterator<Item = BrokerToOpener> {
        let (identity, limits) = (self.identity, self.limits);
        let groups = self.groups.chunks(GROUPS_PER_MESSAGE_MAX).map(<[u32]>::to_vec);
        let trees = self.trees.iter().cloned().map(BrokerToOpener::Trees);
        let last = BrokerToOpener::Become { identity, scanner_uid, limits };
        groups.map(BrokerToOpener::Groups).chain(trees).chain([last])
    }
}

/// Every local user may have scanned what they can read themselves, root everything, unless they are denied;
/// and beyond that what they have been granted, root too. A personal broker serves its own user alone.
///
/// # Errors
/// Why this peer is not served.
pub fn authorise(
    peer: &Peer,
    access: Access,
    mode: Mode,
    policy: &Policy,
) -> Result<Grant, Refusal> {
    let Peer { uid, gid, .. } = *peer;
    let has = |grant: &&TreeGrant| access == Access::Granted && contain(&grant.subjects, peer);
    // Who else has it is not the opener's business.
    let nameless = |grant: &TreeGrant| TreeGrant { subjects: Subjects::default(), ..grant.clone() };
    let trees: Vec<TreeGrant> = policy.grants.iter().filter(has).map(nameless).collect();
    let identity = match (mode, access) {
        (Mode::System { .. }, _) if uid != 0 && contain(&policy.denied, peer) => None,
        (Mode::System { granted_uid: uid, .. }, Access::Granted) if !trees.is_empty() => {
            Some(Identity::Granted { uid })
        }
        // uid 0 without capabilities would still be root for the files that it owns.
        (Mode::System { reader_uid, .. }, Access::Own) if uid == 0 => {
            Some(Identity::ReadAll { uid: reader_uid })
        }
        (Mode::System { .. }, Access::Own) => Some(Identity::Caller { uid, gid }),
        (Mode::Personal { uid: own }, Access::Own) if uid == own => Some(Identity::Unchanged),
        _ => None,
    };
    let identity = identity.ok_or(Refusal::NotAllowed)?;
    let is_caller = matches!(identity, Identity::Caller { .. });
    let groups = if is_caller { peer.groups.clone() } else { Vec::new() };
    let limits = policy.limits.iter().find(|(subjects, _)| contain(subjects, peer));
    let limits = limits.map(|(_, limits)| *limits).unwrap_or_default();
    Ok(Grant { caller_uid: uid, identity, groups, trees, limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: Mode =
        Mode::System { scanner: (65_534, 65_534), reader_uid: 65_533, granted_uid: 65_532 };

    fn peer(uid: u32) -> Peer {
        Peer { uid, gid: 100, groups: vec![100, 27], pid: 1 }
    }

    fn subjects(uids: &[u32], gids: &[u32]) -> Subjects {
        Subjects { uids: uids.to_vec(), gids: gids.to_vec() }
    }

    fn granting(subjects: Subjects) -> TreeGrant {
        beneath("/srv", subjects)
    }

    fn beneath(tree: &str, subjects: Subjects) -> TreeGrant {
        TreeGrant { subjects, trees: vec![tree.into()], except: Vec::new(), hard_links: false }
    }

    fn nameless(tree: &str) -> TreeGrant {
        beneath(tree, Subjects::default())
    }

    fn grant(peer: &Peer, access: Access, policy: &Policy) -> Grant {
        match authorise(peer, access, SYSTEM, policy) {
            Ok(grant) => grant,
            Err(refusal) => panic!("refused: {refusal}"),
        }
    }

    fn own(peer: &Peer) -> Grant {
        grant(peer, Access::Own, &Policy::default())
    }

    fn is_refused(peer: &Peer, access: Access, policy: &Policy) -> bool {
        let decision = authorise(peer, access, SYSTEM, policy);
        matches!(decision, Err(Refusal::NotAllowed))
    }

    #[test]
    fn a_user_is_served_with_exactly_their_own_identity() {
        let grant = own(&peer(2000));
        assert_eq!(grant.identity, Identity::Caller { uid: 2000, gid: 100 });
        assert_eq!(grant.groups, [100, 27]);
        assert!(grant.trees.is_empty());
    }

    #[test]
    fn root_is_served_by_an_opener_that_is_not_root() {
        let grant = own(&peer(0));
        assert_eq!(grant.identity, Identity::ReadAll { uid: 65_533 });
        assert!(grant.groups.is_empty());
    }

    #[test]
    fn a_personal_broker_serves_nobody_else_not_even_root_and_grants_nothing() {
        let policy =
            Policy { grants: vec![granting(subjects(&[0, 2000], &[]))], ..Policy::default() };
        let personal = Mode::Personal { uid: 2000 };
        for (uid, access) in [(0, Access::Own), (2001, Access::Own), (2000, Access::Granted)] {
            assert!(matches!(
                authorise(&peer(uid), access, personal, &policy),
                Err(Refusal::NotAllowed)
            ));
        }
    }

    #[test]
    fn grants_of_different_groups_are_different() {
        let mut other = peer(2000);
        other.groups.pop();
        assert_ne!(own(&peer(2000)), own(&other));
    }

    #[test]
    fn who_is_named_by_user_or_any_group_has_a_grant_and_nobody_else_not_even_root() {
        let grants = vec![
            beneath("/a", subjects(&[2000], &[])),
            beneath("/b", subjects(&[], &[27])),
            beneath("/c", subjects(&[], &[300])),
        ];
        let policy = Policy { grants, ..Policy::default() };
        let granted = grant(&peer(2000), Access::Granted, &policy);
        assert_eq!(granted.identity, Identity::Granted { uid: 65_532 });
        assert_eq!(granted.trees, [nameless("/a"), nameless("/b")]);
        assert!(granted.groups.is_empty());
        let mut main = peer(2001);
        (main.gid, main.groups) = (300, Vec::new());
        assert_eq!(grant(&main, Access::Granted, &policy).trees, [nameless("/c")]);
        main.gid = 301;
        assert!(is_refused(&main, Access::Granted, &policy));
        let root = Peer { uid: 0, gid: 0, groups: vec![0], pid: 1 };
        assert!(is_refused(&root, Access::Granted, &policy));
    }

    #[test]
    fn without_the_granted_socket_a_grant_changes_nothing() {
        let policy = Policy { grants: vec![granting(subjects(&[2000], &[]))], ..Policy::default() };
        assert_eq!(grant(&peer(2000), Access::Own, &policy), own(&peer(2000)));
    }

    #[test]
    fn grants_of_different_trees_or_users_are_different() {
        let grants =
            vec![beneath("/a", subjects(&[2000, 2001], &[])), beneath("/b", subjects(&[], &[27]))];
        let policy = Policy { grants, ..Policy::default() };
        let mut other = peer(2000);
        other.groups.pop();
        let granted = |peer: &Peer| grant(peer, Access::Granted, &policy);
        assert_ne!(granted(&peer(2000)), granted(&other));
        assert_ne!(granted(&peer(2000)), granted(&peer(2001)));
        assert_eq!(granted(&peer(2000)), granted(&peer(2000)));
    }

    #[test]
    fn who_is_denied_is_refused_everywhere_but_root_never() {
        let policy = Policy {
            denied: subjects(&[0, 2000], &[27]),
            grants: vec![granting(subjects(&[0, 2000], &[]))],
            ..Policy::default()
        };
        for access in [Access::Own, Access::Granted] {
            assert!(is_refused(&peer(2000), access, &policy));
            assert!(is_refused(&peer(2001), access, &policy), "by group");
            assert!(!is_refused(&peer(0), access, &policy));
        }
    }

    #[test]
    fn the_first_limit_that_names_a_user_counts() {
        let limit = |connections| Limits { connections, ..Limits::default() };
        let limits = vec![
            (subjects(&[2001], &[]), limit(1)),
            (subjects(&[], &[27]), limit(2)),
            (subjects(&[2000], &[]), limit(3)),
        ];
        let policy = Policy { limits, ..Policy::default() };
        let of = |peer: &Peer| grant(peer, Access::Own, &policy).limits.connections;
        assert_eq!([of(&peer(2000)), of(&peer(2001))], [2, 1]);
        let other = Peer { uid: 2000, gid: 1, groups: Vec::new(), pid: 1 };
        assert_eq!(of(&other), 3);
        assert_eq!(of(&Peer { uid: 2002, ..other }), 0);
    }
}
