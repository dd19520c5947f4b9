//! Where fdscand is. Runs in the configuration reader, which opens it for the broker to have executed as
//! the scanner's user; never as root.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::root::spawn::OURSELVES;

/// Finds fdscand: beside our own executable, else where packages put it.
///
/// # Errors
/// One line that names what is missing.
pub fn find() -> Result<File, String> {
    let beside = fs::read_link(OURSELVES).ok().and_then(|path| Some(path.parent()?.to_path_buf()));
    let packaged =
        ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let is_file = |file: &File| file.metadata().is_ok_and(|meta| meta.is_file());
    let mut files = beside.into_iter().chain(packaged).map(|dir| File::open(dir.join("fdscand")));
    files.find_map(|file| file.ok().filter(is_file)).ok_or_else(|| {
        "fdscand is neither beside fdbroker nor in /usr/sbin, /usr/local/sbin, /usr/bin or /usr/local/bin; install it there".into()
    })
}
