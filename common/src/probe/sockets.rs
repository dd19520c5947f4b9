//! Acts on sockets, and descriptors of other kinds that a process could make itself.

use std::ffi::CStr;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::attempt::made;
use super::{Act, Props, Tried};

/// Tries one of this group.
pub fn attempt(act: Act, props: &mut Props) -> Tried {
    of_sockets(act, props).or_else(|errno| match errno {
        Errno::EDOM => of_descriptors(act),
        errno => Err(errno),
    })
}

fn of_sockets(act: Act, props: &Props) -> Tried {
    let (socket, other) = (props.sockets.0.as_fd(), props.sockets.1.as_fd());
    let byte = b"x".as_slice();
    match act {
        Act::SocketUnix => made!(SYS_socket, AF_UNIX, SOCK_STREAM, 0),
        Act::SocketInet => made!(SYS_socket, AF_INET, SOCK_STREAM, 0),
        Act::SocketUdp6 => made!(SYS_socket, AF_INET6, SOCK_DGRAM, 0),
        Act::SocketNetlink => made!(SYS_socket, AF_NETLINK, SOCK_RAW, 0),
        Act::SocketPacket => made!(SYS_socket, AF_PACKET, SOCK_RAW, 0),
        Act::Socketpair => made!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &mut [0]),
        Act::Connect => {
            let address = address(c"/nonexistent/socket");
            made!(SYS_connect, socket, address.as_slice(), length(&address))
        }
        Act::Bind => {
            let address = address(&props.new);
            made!(SYS_bind, socket, address.as_slice(), length(&address))
        }
        Act::Listen => made!(SYS_listen, socket, 1),
        Act::Accept => made!(SYS_accept4, socket, 0, 0, 0),
        Act::SendOther => made!(SYS_sendto, socket, byte, 1, libc::MSG_DONTWAIT, 0, 0),
        Act::WriteOther => made!(SYS_write, socket, byte, 1),
        Act::ReceiveOther => {
            // An empty struct msghdr: room for nothing.
            made!(SYS_recvmsg, other, &mut [0; 7], libc::MSG_DONTWAIT)
        }
        Act::SendRights => {
            let passed = [props.file.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&passed)];
            let pieces = [IoSlice::new(b"x")];
            let number = socket.as_raw_fd();
            sendmsg::<()>(number, &pieces, &rights, MsgFlags::MSG_DONTWAIT, None).map(drop)
        }
        Act::SendMany => made!(SYS_sendmmsg, socket, &mut [0; 8], 1, libc::MSG_DONTWAIT),
        Act::SetSockopt => {
            let value = 1_i32.to_ne_bytes();
            made!(SYS_setsockopt, socket, libc::SOL_SOCKET, libc::SO_PASSCRED, value.as_slice(), 4)
        }
        Act::Shutdown => made!(SYS_shutdown, socket, libc::SHUT_RDWR),
        _ => Err(Errno::EDOM),
    }
}

fn of_descriptors(act: Act) -> Tried {
    let mut mask = [0];
    match act {
        // No descriptor to wait for, and no time to wait.
        Act::Poll => made!(SYS_ppoll, 0, 0, &mut [0, 0], 0, 0),
        Act::Pipe => made!(SYS_pipe2, &mut [0], 0),
        Act::Eventfd => made!(SYS_eventfd2, 0, 0),
        Act::Epoll => made!(SYS_epoll_create1, 0),
        Act::Signalfd => made!(SYS_signalfd4, -1, &mut mask, 8, 0),
        Act::Timerfd => made!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0),
        Act::Inotify => made!(SYS_inotify_init1, 0),
        Act::Fanotify => made!(SYS_fanotify_init, i64::from(libc::FAN_CLASS_NOTIF), 0),
        _ => Err(Errno::EDOM),
    }
}

/// struct sockaddr_un.
fn address(path: &CStr) -> Vec<u8> {
    let family = u16::try_from(AF_UNIX).unwrap_or(0).to_ne_bytes();
    family.into_iter().chain(path.to_bytes_with_nul().iter().copied()).collect()
}

fn length(address: &[u8]) -> i64 {
    i64::try_from(address.len()).unwrap_or(0)
}
