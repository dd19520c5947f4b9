//! A clamd of our own with one signature, and a client that passes descriptors in a session.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fdbroker_tests::poll_until;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::peers::Peer;
use super::rules;

/// A running clamd, ended with this.
pub struct Clamd {
    child: Child,
    directory: PathBuf,
}

impl Clamd {
    /// Starts one in a directory.
    pub fn start(directory: &Path) -> Result<Self, String> {
        let clamd = Peer::Clamd.find()?;
        let database = directory.join("db");
        std::fs::create_dir_all(&database).expect("mkdir");
        std::fs::write(database.join("bench.ndb"), rules::signature()).expect("write");
        let place = directory.display();
        let config = format!(
            "LocalSocket {place}/socket\nLocalSocketMode 666\nDatabaseDirectory {place}/db\n\
             TemporaryDirectory {place}\nLogFile {place}/log\nForeground yes\n"
        );
        std::fs::write(directory.join("clamd.conf"), config).expect("write");
        let child = Command::new(clamd)
            .arg("--config-file")
            .arg(directory.join("clamd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("clamd: {error}"))?;
        let started = Self { child, directory: directory.to_path_buf() };
        poll_until("clamd answers", fdbroker_tests::PATIENCE, || started.connect().ok()).map_err(
            |error| {
                let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
                format!("{error}: {log}")
            },
        )?;
        Ok(started)
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.directory.join("socket"))
    }

    /// `clamdscan --fdpass …` of this daemon.
    pub fn clamdscan(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--fdpass").arg("--no-summary").arg("--config-file");
        command.arg(self.directory.join("clamd.conf"));
        command
    }

    /// Begins a session.
    pub fn session(&self) -> Session {
        let mut stream = self.connect().expect("clamd");
        stream.write_all(b"zIDSESSION\0").expect("clamd");
        Session { answers: BufReader::new(stream), next: 1 }
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A held connection. Each command has a number, and each answer names it.
pub struct Session {
    answers: BufReader<UnixStream>,
    next: u32,
}

impl Session {
    /// Has one file judged and waits for the answer; false if it is not clean.
    pub fn is_clean(&mut self, file: &OwnedFd) -> bool {
        let stream = self.answers.get_mut();
        stream.write_all(b"zFILDES\0").expect("clamd");
        let descriptors = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let bytes = [std::io::IoSlice::new(b"\0")];
        sendmsg::<()>(stream.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None)
            .expect("sendmsg");
        let mut answer = Vec::new();
        self.answers.read_until(0, &mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with(&format!("{}: ", self.next)), "{text}");
        self.next += 1;
        text.trim_end_matches('\0').ends_with(": OK")
    }
}
