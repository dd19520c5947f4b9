//! Who is at the other end of a connection, by the kernel's word only (unix(7), socket(7)).
//!
//! Runs in the broker as root. The one file of this crate with unsafe code. Credentials are those of
//! connect(2) and do not change; a process id is kept for the log and decides nothing.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_common::limits::GROUPS_MAX;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

/// Peer credentials of a connection.
#[derive(Debug)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Process id, 0 if it is in a pid namespace that cannot be seen. For people.
    pub pid: u32,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `NotConnected` when the peer has gone meanwhile, otherwise as getsockopt(2).
    pub fn of(connection: impl AsFd) -> io::Result<Self> {
        let connection = connection.as_fd();
        let credentials = getsockopt(&connection, sockopt::PeerCredentials)?;
        let groups = peer_groups(connection)?;
        match getsockopt(&connection, sockopt::PeerPidfd) {
            Ok(pidfd) if has_exited(&pidfd)? => return Err(io::ErrorKind::NotConnected.into()),
            // Kernels before 6.5 lack it; before 6.16 it fails for a process that is gone.
            Ok(_) | Err(nix::Error::ENOPROTOOPT | nix::Error::EINVAL) => {}
            Err(nix::Error::ESRCH) => return Err(io::ErrorKind::NotConnected.into()),
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups,
            pid: u32::try_from(credentials.pid()).unwrap_or(0),
        })
    }
}

fn has_exited(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

fn peer_groups(connection: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    // Room for the most that the kernel allows: no second question, and no answer that was cut.
    let mut groups = vec![0_u32; GROUPS_MAX];
    let room = groups.len().saturating_mul(size_of::<u32>());
    let mut length = libc::socklen_t::try_from(room).unwrap_or(0);
    // SAFETY: `groups` is valid for writes of `length` bytes, which is its exact size, and gid_t is u32;
    // the kernel writes at most `length` bytes and stores the true length in `length`. This function
    // upholds both and keeps `connection` borrowed, so the descriptor is open.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    nix::errno::Errno::result(result)?;
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<u32>());
    groups.shrink_to_fit();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::Peer;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    #[test]
    fn credentials_are_those_of_the_process_at_the_other_end() {
        let (ours, _theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
        assert_eq!(peer.pid, std::process::id());
        let mut groups: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        groups.sort_unstable();
        let mut told = peer.groups;
        told.sort_unstable();
        assert_eq!(told, groups);
    }
}
