//! Directories and files for tests.
//!
//! All below /tmp, whatever `TMPDIR` says: that may be below a home that other users cannot enter.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The EICAR test file, in two halves: this source file is no test file.
pub const EICAR: &[u8] = {
    const FIRST: &[u8; 34] = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-";
    const LAST: &[u8; 34] = b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    &{
        let mut whole = [0; 68];
        let mut at = 0;
        while at < 34 {
            whole[at] = FIRST[at];
            whole[34 + at] = LAST[at];
            at += 1;
        }
        whole
    }
};

/// A directory that every user can enter, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, mode 0755.
    ///
    /// # Panics
    /// When /tmp is not writable.
    #[must_use]
    pub fn new() -> Self {
        let path = nix::unistd::mkdtemp("/tmp/fdbroker-test-XXXXXX").expect("mkdtemp");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} was not removed: {error}", self.0.display());
        }
    }
}

/// Writes a file that all may read, with the directories above it, all modes regardless of umask.
///
/// # Panics
/// When it cannot be written.
pub fn write(path: &Path, contents: &[u8]) {
    let missing: Vec<&Path> =
        path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for directory in missing.iter().rev() {
        fs::create_dir(directory).expect("mkdir");
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("chmod");
    }
    fs::write(path, contents).expect("write");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("chmod");
}

/// Gives a file an owner, a group and a mode.
///
/// # Panics
/// When it cannot be changed.
pub fn own(path: &Path, uid: u32, gid: u32, mode: u32) {
    chown(path, Some(uid), Some(gid)).expect("chown");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// Fills a directory with small harmless files, 1,000 in each directory below it.
///
/// # Panics
/// When it cannot be written.
pub fn many(directory: &Path, count: usize, contents: &[u8]) {
    for nth in 0..count {
        let path = directory.join(format!("{}/{nth}", nth / 1000));
        if nth % 1000 == 0 {
            write(&path, contents);
        } else {
            fs::write(&path, contents).expect("write");
            fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        }
    }
}
