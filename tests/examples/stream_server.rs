//! Step 1: a server on a Unix stream socket. Run by anybody.
//!
//! One request a connection: the client says a text, closes its sending side and gets a greeting.

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
const TEXT_BYTES_MAX: usize = 1024;

struct Client {
    number: usize,
    stream: UnixStream,
    text: Vec<u8>,
}

enum Next {
    Wait,
    Close,
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
        let mut interests: Vec<_> =
            clients.iter().map(|client| (client.stream.as_fd(), PollFlags::POLLIN)).collect();
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
            println!("client {accepted} connected");
            clients.push(Client { number: accepted, stream, text: Vec::new() });
        }
        clients.retain_mut(|client| match client.serve() {
            Ok(Next::Wait) => true,
            Ok(Next::Close) => {
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

impl Client {
    /// Reads what there is; at the end of the request, answers.
    fn serve(&mut self) -> io::Result<Next> {
        let mut buffer = [0; 256];
        match self.stream.read(&mut buffer) {
            Ok(0) => {}
            Ok(length) => {
                self.text.extend_from_slice(&buffer[..length]);
                if self.text.len() > TEXT_BYTES_MAX {
                    return Err(io::Error::other("said too much"));
                }
                return Ok(Next::Wait);
            }
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Next::Wait),
                    _ => Err(error),
                };
            }
        }
        if self.text.is_empty() {
            return Err(io::Error::other("said nothing"));
        }
        println!("client {} said \"{}\"", self.number, Escaped(&self.text));
        // The first bytes on an empty socket: they fit. If not, WouldBlock drops this client.
        self.stream.write_all(b"hello ")?;
        self.stream.write_all(&self.text)?;
        Ok(Next::Close)
    }
}
