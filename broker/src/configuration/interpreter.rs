//! The program interpreter of our executable. Runs in the configuration reader: the broker lets nothing else be
//! executed, and reads no text to find it.

use std::fs::File;
use std::io;

/// The program interpreter of this process, which the kernel executes along with our executables.
///
/// # Errors
/// When /proc/self/maps cannot be read.
pub fn find() -> io::Result<Option<File>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    let is_loader = |path: &&str| {
        path.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with("ld-") || name.starts_with("ld64"))
    };
    paths.find(is_loader).map(File::open).transpose()
}
