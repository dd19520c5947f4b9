//! Step 2: shows `echo_server` that bytes on a stream have no borders. Run by anybody.

#[path = "support/exit.rs"]
mod exit;
#[path = "support/socket.rs"]
mod socket;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use fdbroker_common::escape::Escaped;
use nix::sys::socket::{SockFlag, UnixAddr};

const LINE_BYTES_MAX: u64 = 1024;

struct Connection {
    name: char,
    stream: BufReader<UnixStream>,
}

fn main() -> std::process::ExitCode {
    exit::report(run())
}

fn run() -> exit::Result<()> {
    let path = env::args_os().nth(1).ok_or("which socket?")?;
    let address = socket::address(Path::new(&path))?;
    let mut a = Connection::open('A', &address)?;
    let mut b = Connection::open('B', &address)?;
    a.send(b"hel")?;
    b.send(b"one\ntwo\n")?;
    b.receive()?;
    b.receive()?;
    a.send(b"lo\n")?;
    a.receive()
}

impl Connection {
    fn open(name: char, address: &UnixAddr) -> exit::Result<Self> {
        let stream = socket::connect_to(address, SockFlag::empty())?;
        let stream = BufReader::new(UnixStream::from(stream));
        Ok(Self { name, stream })
    }

    fn send(&mut self, bytes: &[u8]) -> exit::Result<()> {
        println!("{} sends \"{}\"", self.name, Escaped(bytes));
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    fn receive(&mut self) -> exit::Result<()> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        limited.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err("the server hung up in the middle of a line".into());
        }
        println!("{} receives \"{}\"", self.name, Escaped(&line));
        Ok(())
    }
}
