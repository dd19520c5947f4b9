//! Step 4: an open file goes to another process. Both run with the rights of who starts it.
//!
//! When the child receives the file, no name leads to it any more.

#[path = "support/exit.rs"]
mod exit;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::{env, str};

use fdbroker_common::escape::Escaped;
use fdbroker_common::{fdpass, stdio};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

fn main() -> std::process::ExitCode {
    exit::report(match env::args_os().nth(1) {
        None => parent(),
        Some(_) => child(),
    })
}

fn parent() -> exit::Result<()> {
    let scratch = scratch::Scratch::new()?;
    let path = scratch.path().join("letter.txt");
    fs::write(&path, "Dear reader")?;
    let mut file = File::open(&path)?;
    fs::remove_file(&path)?;
    println!("parent: opened letter.txt and removed its name");

    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let mut child =
        Command::new("/proc/self/exe").arg("child").stdin(Stdio::from(theirs)).spawn()?;
    // The standard library knows no SEQPACKET type; send and recv are the same calls.
    let ours = UnixDatagram::from(ours);
    fdpass::send(&ours, b"letter.txt", &[file.as_fd()])?;

    let mut answer = [0; 64];
    let length = fdpass::receive_plain(&ours, &mut answer)?;
    if length == 0 {
        return Err("the child has gone".into());
    }
    println!("parent: child says \"{}\"", Escaped(&answer[..length]));
    println!("parent: shared offset is {}", file.stream_position()?);
    println!("parent: child ended with {}", child.wait()?);
    Ok(())
}

fn child() -> exit::Result<()> {
    let link = UnixDatagram::from(stdio::take_stdin()?);
    let mut buffer = [0; 64];
    let packet = fdpass::receive(&link, &mut buffer)?;
    let [descriptor] = <[OwnedFd; 1]>::try_from(packet.descriptors)
        .map_err(|several| format!("{} descriptors instead of one", several.len()))?;
    let name = str::from_utf8(&buffer[..packet.length])?;
    println!("child: received \"{name}\" and a descriptor");

    let flags = FdFlag::from_bits_truncate(fcntl(&descriptor, FcntlArg::F_GETFD)?);
    println!("child: close-on-exec is {}", flags.contains(FdFlag::FD_CLOEXEC));
    let file = File::from(descriptor);
    let mut content = [0; 64];
    // pread(2): says where to read, and leaves the shared offset alone.
    let length = file.read_at(&mut content, 0)?;
    println!("child: read \"{}\"", Escaped(&content[..length]));
    fdpass::send(&link, format!("{length} bytes").as_bytes(), &[])?;
    Ok(())
}
