//! Step 1: a client of `stream_server`. Run by anybody.
//!
//! Connects once for each word, in order, and speaks in the opposite order: the last connection is
//! served while all earlier ones stay open and silent.

#[path = "support/exit.rs"]
mod exit;
#[path = "support/socket.rs"]
mod socket;

use std::env;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fdbroker_common::escape::Escaped;
use nix::sys::socket::SockFlag;

const ANSWER_BYTES_MAX: u64 = 4096;

fn main() -> std::process::ExitCode {
    exit::report(run())
}

fn run() -> exit::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let path = arguments.next().ok_or("which socket, and which words?")?;
    let address = socket::address(Path::new(&path))?;
    let mut connections: Vec<(OsString, UnixStream)> = Vec::new();
    for word in arguments {
        let stream = socket::connect_to(&address, SockFlag::empty())?;
        connections.push((word, UnixStream::from(stream)));
    }
    println!("{} connections", connections.len());
    while let Some((word, mut stream)) = connections.pop() {
        let answer = ask(&mut stream, word.as_bytes())?;
        println!("{}", Escaped(&answer));
    }
    Ok(())
}

/// Says a text and returns the whole answer.
fn ask(stream: &mut UnixStream, text: &[u8]) -> exit::Result<Vec<u8>> {
    // write(2) may take a part, or be interrupted; write_all goes on until everything is taken.
    stream.write_all(text)?;
    // The other side reads "end of file"; the way back stays open.
    stream.shutdown(Shutdown::Write)?;
    // read(2) returns what has come so far; read_to_end goes on until the server closes.
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err("the server hung up without an answer".into());
    }
    Ok(answer)
}
