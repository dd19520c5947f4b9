//! Fresh processes behind the fences of broker, dispatcher and openers, to try acts.
//!
//! They are the very executable that the live broker runs.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::SystemTime;

use fdbroker_common::probe::{Act, DEADLINE, FILE, Fence, Found, SURPLUS};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::probes::Probe;
use crate::ctl::admin::AdminLink;
use crate::ctl::processes::Facts;
use crate::ctl::program::Program;

/// Starts processes that try acts.
pub struct Prober {
    program: Program,
    place: Place,
    fences: Vec<Fence>,
}

impl Prober {
    /// Finds the executable and makes a place to try acts in.
    pub fn new(link: &AdminLink) -> io::Result<Self> {
        let personal = !rustix::process::geteuid().is_root();
        // Only root can become somebody who reads for root.
        let is_here =
            |fence: &Fence| *fence != Fence::Worker && !(personal && *fence == Fence::Reader);
        Ok(Self {
            program: Program::of_broker(link).or_else(|_| Program::beside())?,
            place: Place::new()?,
            fences: Fence::ALL.into_iter().filter(is_here).collect(),
        })
    }

    /// A directory with two files in which nothing is to be found.
    pub fn place(&self) -> &Path {
        &self.place.0
    }

    /// What the kernel says of a process behind each fence.
    pub fn confinements(&self) -> Vec<(Fence, Facts)> {
        let facts = |fence: &Fence| Some((*fence, self.hold(*fence).ok()??));
        self.fences.iter().filter_map(facts).collect()
    }

    /// Tries all acts behind all fences.
    pub fn probes(&self) -> Vec<Probe> {
        let of_fence = |fence: &Fence| {
            Probe::all(*fence, |acts| Ok(self.attempt(*fence, acts))).unwrap_or_default()
        };
        self.fences.iter().flat_map(of_fence).collect()
    }

    fn command(&self, fence: Fence) -> Command {
        let mut command = self.program.command();
        command.args(["--probe", fence.name()]).arg(&self.place.0);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Has a process live behind a fence for as long as it takes to look at it.
    fn hold(&self, fence: Fence) -> io::Result<Option<Facts>> {
        let mut child = self.command(fence).arg("hold").stdin(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            // One that cannot put up its fence ends, and says so on standard error.
            BufReader::new(out).read_line(&mut line)?;
        }
        let facts = Facts::of(child.id()).filter(|_| line == "hold\n");
        drop(child.stdin.take());
        child.wait()?;
        Ok(facts)
    }

    /// What becomes of each of these acts. One process tries as many as it survives.
    fn attempt(&self, fence: Fence, acts: &[Act]) -> Vec<Found> {
        let mut found = Vec::new();
        while let Some(rest) = acts.get(found.len()..).filter(|rest| !rest.is_empty()) {
            let names = rest.iter().map(|act| act.name());
            let (said, end) = match self.place.refill().and_then(|()| {
                let child = self.command(fence).args(names).spawn()?;
                listen(child)
            }) {
                Ok(heard) => heard,
                Err(_) => (String::new(), Some(Found::NotTried)),
            };
            let told = said.lines().zip(rest).map_while(|(line, act)| {
                let code = line.strip_prefix(act.name())?.trim().parse().ok()?;
                Some(Found::from_code(code))
            });
            found.extend(told);
            // It ended when it tried the next one.
            if found.len() < acts.len() {
                found.push(end.unwrap_or(Found::NotTried));
            }
        }
        found
    }
}

/// What a process says until it ends, and what its end stands for. One that takes too long is ended.
fn listen(mut child: Child) -> io::Result<(String, Option<Found>)> {
    let mut said = Vec::new();
    let mut late = false;
    if let Some(mut out) = child.stdout.take() {
        let timeout = Timespec::try_from(DEADLINE).unwrap_or_default();
        let mut buffer = [0; 4096];
        loop {
            match poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => {
                    late = true;
                    break;
                }
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => break,
            }
            match out.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => said.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
    }
    if late {
        let _ = child.kill();
    }
    let end = child.wait()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok((said, if late { Some(Found::Hung) } else { Some(ending(end)) }))
}

fn ending(status: ExitStatus) -> Found {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Found::Killed(signal),
        (None, Some(code)) => Found::from_code(code),
        (None, None) => Found::NotTried,
    }
}

/// A directory with files that may be written and removed, so that nothing but a fence forbids it.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("fdbrokerctl-{}-{:x}", std::process::id(), nanos.as_nanos());
        let place = Self(std::env::temp_dir().join(name));
        // Not there yet, so nobody else's.
        fs::create_dir(&place.0)?;
        fs::set_permissions(&place.0, Permissions::from_mode(0o711))?;
        place.refill()?;
        Ok(place)
    }

    fn refill(&self) -> io::Result<()> {
        for name in [FILE, SURPLUS] {
            let path = self.0.join(name);
            fs::write(&path, "nothing to be found here\n")?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
