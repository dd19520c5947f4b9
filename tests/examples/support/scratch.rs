//! A directory of one's own (mode 0700) that disappears with its owner.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Removed with everything in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory below `$TMPDIR` or /tmp under a name that nobody else has (mkdtemp(3)).
    pub fn new() -> io::Result<Self> {
        let template = env::temp_dir().join("fdbroker-example-XXXXXX");
        Ok(Self(nix::unistd::mkdtemp(&template)?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} was not removed: {error}", self.0.display());
        }
    }
}
