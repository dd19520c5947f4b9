//! Step 4: what can go wrong with descriptors in messages. Run by anybody.
//!
//! Sender and receiver are one process here, so that it can count what stays open.

#[path = "support/exit.rs"]
mod exit;

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use fdbroker_common::fdpass;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

fn main() -> std::process::ExitCode {
    exit::report(run())
}

fn run() -> exit::Result<()> {
    let (sender, receiver) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let (sender, receiver) = (UnixDatagram::from(sender), UnixDatagram::from(receiver));
    let file = File::open("/dev/null")?;
    let open_before = open_descriptors()?;

    fdpass::send(&sender, b"a pair", &[file.as_fd(), file.as_fd()])?;
    println!("two instead of one: {}", receive_one(&receiver));

    fdpass::send(&sender, b"long packet", &[file.as_fd()])?;
    println!("packet too long: {}", receive_one(&receiver));

    fdpass::send(&sender, b"a file", &[file.as_fd()])?;
    println!("descriptor table full: {}", with_full_table(&receiver)?);

    fdpass::send(&sender, b"a gift", &[file.as_fd()])?;
    let length = fdpass::receive_plain(&receiver, &mut [0; 8])?;
    println!("nobody asked for it: {length} bytes, no descriptor");

    drop(sender);
    println!("sender gone: {}", receive_one(&receiver));
    println!("leaked: {}", open_descriptors()? + 1 - open_before);
    Ok(())
}

/// Wants a packet of at most 8 bytes with exactly one descriptor; tells in words what came.
fn receive_one(receiver: &UnixDatagram) -> String {
    match fdpass::receive(receiver, &mut [0; 8]) {
        Err(error) => format!("refused, {error}"),
        Ok(packet) if packet.length == 0 => "end of the connection".into(),
        Ok(packet) => match <[OwnedFd; 1]>::try_from(packet.descriptors) {
            Ok(_) => "received".into(),
            Err(several) => format!("refused, {} descriptors", several.len()),
        },
    }
}

/// Receives while this process may not have any further descriptor.
fn with_full_table(receiver: &UnixDatagram) -> nix::Result<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
    let told = receive_one(receiver);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    Ok(told)
}

fn open_descriptors() -> std::io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
