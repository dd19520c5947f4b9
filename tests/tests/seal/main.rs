//! What no process may do is tried, on real installations: it fails exactly as it must. The same acts
//! outside of any fence succeed, so these tests could fail.

mod installed;
mod template;
mod unfenced;
mod workers;

use fdbroker_common::probe::{FILE, Fence, SURPLUS};
use fdbroker_tests::files::{self, Scratch};
use fdbroker_tests::{Program, Running};

/// A directory in which nothing but a fence forbids acts.
struct Place(Scratch);

impl Place {
    fn new() -> Self {
        let place = Self(Scratch::new());
        place.refill();
        place
    }

    fn refill(&self) {
        let new = self.0.path().join("new");
        let _ = std::fs::remove_file(&new).or_else(|_| std::fs::remove_dir(&new));
        for name in [FILE, SURPLUS] {
            let path = self.0.path().join(name);
            files::write(&path, b"nothing");
            let own = nix::unistd::geteuid().as_raw();
            files::own(&path, own, nix::unistd::getegid().as_raw(), 0o666);
        }
    }

    /// `fdbroker --probe FENCE PLACE`, to be completed.
    fn probe(&self, fence: &str) -> Program {
        Program::new("fdbroker").args(["--probe", fence]).arg(self.0.path())
    }

    /// A process behind a fence, which lives until the other end of its standard input is dropped.
    fn hold(&self, fence: Fence) -> (Running, std::io::PipeWriter) {
        let (stdin, keep) = std::io::pipe().expect("pipe");
        (self.probe(fence.name()).arg("hold").stdin(stdin).spawn(), keep)
    }
}
