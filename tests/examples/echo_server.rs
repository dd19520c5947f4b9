//! Step 2: many clients, many lines each. Run by anybody.
//!
//! Sends every line back. A line may arrive in pieces, or several lines at once, and a client that
//! does not read its echo is not read from until it does.

#[path = "support/exit.rs"]
mod exit;
#[path = "support/listen.rs"]
mod listen;
#[path = "support/socket.rs"]
mod socket;
#[path = "support/wait.rs"]
mod wait;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::{env, io};

use fdbroker_common::escape::Escaped;
use nix::poll::PollFlags;

const CLIENTS_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 1024;

struct Client {
    number: usize,
    stream: UnixStream,
    /// Received, but no whole line yet.
    input: Vec<u8>,
    /// Whole lines that the socket has not taken yet.
    output: Vec<u8>,
}

fn main() -> std::process::ExitCode {
    exit::report(run())
}

fn run() -> exit::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which socket?")?);
    let total: usize = match arguments.next() {
        Some(number) => number.to_string_lossy().parse()?,
        None => usize::MAX,
    };
    let listener = listen::Listener::new(&path)?;
    let (mut accepted, mut served) = (0, 0);
    let mut clients: Vec<Client> = Vec::new();
    while served < total {
        let mut interests: Vec<_> = clients.iter().map(Client::interest).collect();
        // Without room, further clients wait in the queue of listen(2).
        let room = CLIENTS_MAX - clients.len();
        if room > 0 {
            interests.push((listener.as_fd(), PollFlags::POLLIN));
        }
        wait::until_ready(&interests)?;

        for _ in 0..room {
            let Some(stream) = listener.accept()? else {
                break;
            };
            accepted += 1;
            clients.push(Client {
                number: accepted,
                stream,
                input: Vec::new(),
                output: Vec::new(),
            });
        }
        clients.retain_mut(|client| match client.serve() {
            Ok(()) => true,
            Err(error) if is_not_yet(&error) => true,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                served += 1;
                false
            }
            Err(error) => {
                println!("client {} dropped: {error}", client.number);
                false
            }
        });
    }
    println!("served {served} clients");
    Ok(())
}

/// Nothing is wrong; the next round goes on.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Client {
    /// As long as there is output, only its going out matters.
    fn interest(&self) -> (std::os::fd::BorrowedFd<'_>, PollFlags) {
        let flags = if self.output.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        (self.stream.as_fd(), flags)
    }

    /// One piece of input and as much output as the socket takes; `WouldBlock` when that is all.
    fn serve(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 && !self.input.is_empty() {
            return Err(io::Error::other("hung up in the middle of a line"));
        }
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&buffer[..length]);
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            println!("client {}: \"{}\"", self.number, Escaped(&line[..end]));
            self.output.extend(line);
        }
        if self.input.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("line too long"));
        }
        self.flush()
    }

    /// Writes until nothing is left; a short write keeps the rest for the next time.
    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output)?;
            self.output.drain(..written);
        }
        Ok(())
    }
}
