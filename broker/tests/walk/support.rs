//! Scratch directories, walks that are collected, and a change of user.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use fdbroker_broker::opener::exclude::Excludes;
use fdbroker_broker::opener::open::{OpenContext, VettedFile};
use fdbroker_broker::opener::walk::{Step, Walk, WalkOptions};
use fdbroker_common::client_link::ByteString;
use fdbroker_common::outcome::Outcome;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fstat, openat};

/// More steps than any walk of these tests takes.
const STEPS_MAX: usize = 1_000_000;

/// A directory that is gone after the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    pub fn within(place: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("fdbroker-walk-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("scratch directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.join(name.as_ref())
    }

    /// Creates a file that contains its own name.
    pub fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.join(name.as_ref());
        fs::write(&path, name.as_ref().as_bytes()).expect("file");
        path
    }

    pub fn directory(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir(&path).expect("directory");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // rm(1) manages trees of any depth.
        let removed = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.0).status();
        let removed = removed.is_ok_and(|status| status.success());
        assert!(removed || std::thread::panicking(), "{:?}", self.0);
    }
}

/// As fdscan designates a target.
pub fn designate(path: &Path) -> OwnedFd {
    open(path, OFlags::PATH)
}

pub fn open(path: &Path, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

pub fn context() -> Rc<OpenContext> {
    Rc::new(OpenContext::new().expect("context"))
}

pub fn start(target: &Path, options: WalkOptions) -> Walk {
    let name = target.as_os_str().as_bytes().to_vec();
    Walk::new(designate(target), name, Rc::new(options), context())
}

pub fn excluding(patterns: &[&str]) -> WalkOptions {
    let patterns: Vec<_> =
        patterns.iter().map(|pattern| ByteString::from(pattern.as_bytes())).collect();
    WalkOptions { excludes: Excludes::new(&patterns).expect("patterns"), ..WalkOptions::default() }
}

pub fn following() -> WalkOptions {
    WalkOptions { follow_links: true, ..WalkOptions::default() }
}

/// Everything that a walk brought.
#[derive(Debug, Default)]
pub struct Collected {
    /// Contents by path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Other outcomes by path.
    pub outcomes: BTreeMap<Vec<u8>, Outcome>,
}

impl Collected {
    pub fn paths(&self) -> Vec<&str> {
        self.files.keys().map(|path| std::str::from_utf8(path).expect("text")).collect()
    }

    pub fn outcome(&self, path: &str) -> Option<&Outcome> {
        self.outcomes.get(path.as_bytes())
    }

    /// Takes one step; false at the end.
    pub fn step(&mut self, walk: &mut Walk) -> bool {
        match walk.next() {
            Step::File { path, file } => {
                let twice = self.files.insert(path.clone(), contents(&file));
                assert!(twice.is_none(), "twice: {path:?}");
            }
            Step::Outcome { path, outcome, .. } => {
                let twice = self.outcomes.insert(path.clone(), outcome);
                assert!(twice.is_none(), "twice: {path:?}");
            }
            Step::Pause => {}
            Step::End => return false,
        }
        true
    }

    /// Goes on to the end.
    pub fn finish(mut self, mut walk: Walk) -> Self {
        for _ in 0..STEPS_MAX {
            if !self.step(&mut walk) {
                assert!(matches!(walk.next(), Step::End));
                return self;
            }
        }
        panic!("the walk does not end");
    }
}

pub fn walk(target: &Path, options: WalkOptions) -> Collected {
    Collected::default().finish(start(target, options))
}

/// The contents, after checking that the descriptor is what a worker accepts.
pub fn contents(file: &VettedFile) -> Vec<u8> {
    let flags = fcntl_getfl(file).expect("flags");
    assert_eq!(flags & OFlags::RWMODE, OFlags::RDONLY);
    assert!(!flags.contains(OFlags::PATH));
    let stat = fstat(file).expect("stat");
    assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
    assert_eq!(fdbroker_common::stamp::Stamp::of(&stat), file.stamp());
    assert!(
        rustix::io::fcntl_getfd(file)
            .is_ok_and(|flags| flags.contains(rustix::io::FdFlags::CLOEXEC))
    );
    let mut bytes = Vec::new();
    let mut reader = File::from(file.as_fd().try_clone_to_owned().expect("dup"));
    reader.read_to_end(&mut bytes).expect("read");
    bytes
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True for root with all its capabilities; otherwise says that the test is skipped.
pub fn need_root(why: &str) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .expect("capabilities");
    // CAP_SYS_ADMIN and CAP_MKNOD (capabilities(7)); root in a container may lack them.
    let enough = is_root() && [21, 27].iter().all(|bit| effective & (1 << bit) != 0);
    if !enough {
        eprintln!("skipped: only root with its capabilities can {why}");
    }
    enough
}

/// Runs `body` as an ordinary user: root runs this very test again as nobody.
pub fn as_ordinary_user(test: &str, body: impl FnOnce()) {
    if !is_root() {
        return body();
    }
    let output = Command::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture"])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .expect("run again as nobody");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Runs a command of the system that must succeed.
pub fn run(program: &str, arguments: &[&OsStr]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}

/// A mount that is gone after the test.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn bind(from: &Path, on: &Path) -> Self {
        run("mount", &["--bind".as_ref(), from.as_ref(), on.as_ref()]);
        Self(on.to_owned())
    }

    /// The layers, the topmost first, to be read only.
    pub fn overlay(layers: &[&Path], on: &Path) -> Self {
        let layers: Vec<&OsStr> = layers.iter().map(|layer| layer.as_os_str()).collect();
        let mut options = OsString::from("lowerdir=");
        options.push(layers.join(OsStr::new(":")));
        let arguments = ["-t", "overlay", "none", "-o"].map(OsStr::new);
        run("mount", &[&arguments[..], &[&options, on.as_ref()]].concat());
        Self(on.to_owned())
    }

    pub fn tmpfs(on: &Path) -> Self {
        let arguments = ["-t", "tmpfs", "none"].map(OsStr::new);
        run("mount", &[&arguments[..], &[on.as_ref()]].concat());
        Self(on.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: after a failure something may still be open there.
        run("umount", &["-l".as_ref(), self.0.as_ref()]);
    }
}
