//! The executable of fdbroker, to be started for a question.
//!
//! It is the very one that the live broker runs. Which that is says the kernel: who listens on the admin
//! socket is the broker, and only an executable that runs with our own user id, or the one installed with
//! this program, is started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, openat};

use super::admin::AdminLink;
use super::processes::Facts;

/// An executable of fdbroker.
pub struct Program {
    path: PathBuf,
    /// The directory of the process in /proc that the path leads through.
    process: Option<OwnedFd>,
}

impl Program {
    /// That of the live broker.
    pub fn of_broker(link: &AdminLink) -> io::Result<Self> {
        let broker = link.broker()?;
        // 0 if it is in a pid namespace that cannot be seen from here: then there is no such directory.
        let path = format!("/proc/{}", broker.pid());
        // From here on it is this process, even if its number is given to another one.
        let process: OwnedFd = File::open(path)?.into();
        let own = rustix::process::geteuid().as_raw();
        let is_ours = |facts: &Facts| facts.uids.iter().all(|uid| *uid == own);
        let text = String::from_utf8_lossy(&read(&process, "status")?).into_owned();
        if broker.uid() != own || !Facts::parse(&text).as_ref().is_some_and(is_ours) {
            return Err(io::Error::other("the broker is another user's"));
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}/exe", process.as_raw_fd()));
        fs::metadata(&path)?;
        Ok(Self { path, process: Some(process) })
    }

    /// That beside this program, or in the directory `sbin` beside its own.
    pub fn beside() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let dir = own.parent().unwrap_or(Path::new("/"));
        let path = dir.join("fdbroker");
        let path = if path.exists() { path } else { dir.with_file_name("sbin").join("fdbroker") };
        fs::metadata(&path)?;
        Ok(Self { path, process: None })
    }

    /// It, to be started.
    pub fn command(&self) -> Command {
        Command::new(&self.path)
    }

    /// It, to be started in the working directory and with the arguments of the live broker.
    pub fn command_as_it_was_started(&self) -> io::Result<Command> {
        let mut command = self.command();
        if let Some(process) = &self.process {
            let line = read(process, "cmdline")?;
            let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            command.args(words.skip(1).map(|word| OsString::from_vec(word.to_vec())));
            command.current_dir(format!("/proc/self/fd/{}/cwd", process.as_raw_fd()));
        }
        Ok(command)
    }
}

fn read(process: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let file = openat(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes)?;
    Ok(bytes)
}
