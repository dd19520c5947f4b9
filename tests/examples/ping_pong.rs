//! Step 3: a parent and its child talk over a socketpair. Both run with the rights of who starts it.
//!
//! The child is this very executable, started again with its end of the pair as standard input.

#[path = "support/exit.rs"]
mod exit;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use fdbroker_common::stdio::take_stdin;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

const LINE_BYTES_MAX: u64 = 64;

fn main() -> std::process::ExitCode {
    exit::report(match env::args_os().nth(1) {
        None => parent(),
        Some(_) => child(),
    })
}

fn parent() -> exit::Result<()> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    // The Command owns `theirs` and is gone after this statement: only the child has that end now.
    let mut child =
        Command::new("/proc/self/exe").arg("child").stdin(Stdio::from(theirs)).spawn()?;
    let mut ours = BufReader::new(UnixStream::from(ours));
    for round in 1..=2 {
        println!("parent: ping {round}");
        writeln!(ours.get_mut(), "ping {round}")?;
        let answer = line(&mut ours)?.ok_or("the child has gone")?;
        println!("parent: received {answer}");
    }
    // The child reads end of file, because nobody else holds our end.
    drop(ours);
    println!("parent: child ended with {}", child.wait()?);
    Ok(())
}

fn child() -> exit::Result<()> {
    let mut link = BufReader::new(UnixStream::from(take_stdin()?));
    while let Some(text) = line(&mut link)? {
        println!("child: received {text}");
        let number = text.strip_prefix("ping ").ok_or("not a ping")?;
        writeln!(link.get_mut(), "pong {number}")?;
    }
    println!("child: the parent has hung up");
    Ok(())
}

/// The next line without its end, or None when the other side has closed.
fn line(link: &mut BufReader<UnixStream>) -> exit::Result<Option<String>> {
    let mut text = String::new();
    link.take(LINE_BYTES_MAX).read_line(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.pop() != Some('\n') {
        return Err("cut or overlong line".into());
    }
    Ok(Some(text))
}
