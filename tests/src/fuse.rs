//! A small FUSE server that answers, says nothing, or lies, as a test wants it.
//!
//! Speaks to /dev/fuse itself (linux/fuse.h, version 7.31), from a table that is fixed before the mount.
//! Only for tests, as root: it is mounted with `allow_other`. Whatever becomes of the test, the mount and
//! the connection end with the value, and everything that hangs in it goes on with an error.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::event::{PollFd, PollFlags, poll};

use crate::wait_until;

mod reply;
use reply::{Body, Request, attributes, entry};

/// What the kernel may ask, of what a test may be interested in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A name in a directory; counts for what the name stands for.
    Lookup,
    /// Size, times, mode. While this is not answered, the kernel is told not to remember them.
    Getattr,
    /// To open a file.
    Open,
    /// To read from a file.
    Read,
    /// About the whole file system.
    Statfs,
    /// To open a directory.
    Opendir,
    /// For names in a directory.
    Readdir,
}

impl Ask {
    fn of(opcode: u32) -> Option<Self> {
        Some(match opcode {
            1 => Self::Lookup,
            3 => Self::Getattr,
            14 => Self::Open,
            15 => Self::Read,
            17 => Self::Statfs,
            27 => Self::Opendir,
            28 => Self::Readdir,
            _ => return None,
        })
    }
}

/// What stands in the table.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Directory,
    /// A directory with names without end, none of which leads anywhere.
    Endless,
    /// A file with these contents.
    File(Vec<u8>),
    /// A file that claims to have another size than it has. With `direct` the kernel hands on whatever the
    /// server says, beyond the claimed size too.
    Liar {
        /// What reading gives.
        contents: Vec<u8>,
        /// What the attributes say.
        claims: u64,
        /// Past the page cache.
        direct: bool,
    },
    /// A file of this size that cannot be read: this errno.
    Broken(u64, i32),
}

/// Path below the mount point, and what is there. Directories come before what is in them.
pub type Table = Vec<(&'static str, Node)>;

#[derive(Debug, Default)]
struct Told {
    silent: BTreeSet<(Ask, u64)>,
    unanswered: Vec<(Ask, u64)>,
    asked: Vec<(Ask, u64)>,
}

#[derive(Debug)]
struct Shared {
    table: Table,
    told: Mutex<Told>,
}

/// A mounted file system and its server.
#[derive(Debug)]
pub struct Fuse {
    mount: PathBuf,
    shared: Arc<Shared>,
    stop: Option<PipeWriter>,
    server: Option<JoinHandle<()>>,
}

impl Fuse {
    /// Mounts for everybody; the directory must exist.
    ///
    /// # Errors
    /// Why it cannot be done here.
    pub fn mount(at: &Path, table: Table) -> Result<Self, String> {
        Self::mount_with(at, table, "user_id=0,group_id=0,allow_other")
    }

    /// Mounts for a user alone, which is what users can do by themselves: nobody else may use it, root
    /// neither.
    ///
    /// # Errors
    /// As [`Fuse::mount`].
    pub fn mount_for(at: &Path, table: Table, uid: u32) -> Result<Self, String> {
        Self::mount_with(at, table, &format!("user_id={uid},group_id={uid}"))
    }

    fn mount_with(at: &Path, table: Table, whose: &str) -> Result<Self, String> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| format!("/dev/fuse: {error}"))?;
        let options = format!("fd={},rootmode=40000,{whose}", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("fdbroker-test"), at, Some("fuse"), flags, Some(options.as_str()))
            .map_err(|error| format!("mounting a FUSE file system: {error}"))?;
        let shared = Arc::new(Shared { table, told: Mutex::default() });
        let (stopped, stop) = std::io::pipe().expect("pipe");
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(device, &stopped, &shared)
        });
        Ok(Self { mount: at.to_owned(), shared, stop: Some(stop), server: Some(server) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Says nothing from now on when asked this about that; the path is empty for the root directory.
    pub fn silence(&self, ask: Ask, path: &str) {
        let node = self.shared.find(path);
        self.shared.told().silent.insert((ask, node));
    }

    /// How often it was asked this about that.
    #[must_use]
    pub fn asked(&self, ask: Ask, path: &str) -> usize {
        let about = (ask, self.shared.find(path));
        self.shared.told().asked.iter().filter(|other| **other == about).count()
    }

    /// How many requests were not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.shared.told().unanswered.len()
    }

    /// Waits until so many requests were not answered.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_unanswered(&self, count: usize) {
        wait_until("requests without an answer", || (self.unanswered() >= count).then_some(()));
    }

    /// Ends the server as a crash would: all that wait for it go on with an error. The mount stays.
    pub fn die(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.die();
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        if let Err(error) = umount2(&self.mount, flags) {
            eprintln!("{} was not unmounted: {error}", self.mount.display());
        }
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a node: 1 for the root directory, as the kernel has it.
    fn find(&self, path: &str) -> u64 {
        let place = self.table.iter().position(|(other, _)| *other == path);
        let number = if path.is_empty() { Some(1) } else { place.map(|place| place as u64 + 2) };
        number.unwrap_or_else(|| panic!("{path} is not in the table"))
    }

    fn path(&self, node: u64) -> Option<&'static str> {
        match node {
            1 => Some(""),
            _ => self.table.get(usize::try_from(node).ok()?.checked_sub(2)?).map(|(path, _)| *path),
        }
    }

    fn node(&self, node: u64) -> Option<&Node> {
        match node {
            1 => Some(&Node::Directory),
            _ => self.table.get(usize::try_from(node).ok()?.checked_sub(2)?).map(|(_, node)| node),
        }
    }

    /// Numbers and names of what is in a directory.
    fn children(&self, node: u64) -> Vec<(u64, &'static str)> {
        let parent = self.path(node).unwrap_or("?");
        let child = |(place, (path, _)): (usize, &(&'static str, Node))| {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            (above == parent).then_some((place as u64 + 2, name))
        };
        self.table.iter().enumerate().filter_map(child).collect()
    }

    fn answer(&self, request: &Request<'_>) -> Body {
        let Some(ask) = Ask::of(request.opcode) else {
            return Body::other(request.opcode);
        };
        let named = match ask {
            Ask::Lookup => {
                let name = request.name();
                let mut children = self.children(request.node).into_iter();
                children.find(|(_, other)| other.as_bytes() == name).map(|(node, _)| node)
            }
            _ => Some(request.node),
        };
        if let Some(node) = named {
            let mut told = self.told();
            told.asked.push((ask, node));
            if told.silent.contains(&(ask, node)) {
                told.unanswered.push((ask, node));
                return Body::Silence;
            }
        }
        let Some((node, about)) = named.and_then(|node| Some((node, self.node(node)?))) else {
            return Body::Errno(nix::libc::ENOENT);
        };
        let remembered = !self.told().silent.contains(&(Ask::Getattr, node));
        match ask {
            Ask::Lookup => Body::Bytes(entry(node, about, remembered)),
            Ask::Getattr => Body::Bytes(attributes(node, about, remembered)),
            Ask::Open | Ask::Opendir => Body::opened(about),
            Ask::Read => Body::read(about, request),
            Ask::Readdir if matches!(about, Node::Endless) => Body::endless(request),
            Ask::Readdir => Body::listed(&self.children(node), request),
            Ask::Statfs => Body::statfs(),
        }
    }
}

/// Until told to stop, or until the kernel says that the connection is over.
fn serve(mut device: File, stopped: &impl AsFd, shared: &Shared) {
    // The kernel refuses a buffer that is smaller than what it may have to write.
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut waited = [
            PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !waited[1].revents().is_empty() => return,
            Ok(_) => {}
        }
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            // The request was taken back before it was read.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let Some(request) = Request::parse(buffer.get(..length).unwrap_or_default()) else {
            return;
        };
        if let Some(reply) = shared.answer(&request).reply(request.unique) {
            // An error says that nobody waits for it any more.
            let _ = device.write_all(&reply);
        }
    }
}
