//! Tests that cannot run here say so, and are counted.
//!
//! A skipped test ends without a failure, so libtest counts it as passed; the file that
//! `FDBROKER_SKIPS` names gets a line for each, which `make test` counts and shows.

use std::fs::OpenOptions;
use std::io::Write;

/// Whether the test may do everything.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a tool is in the PATH.
#[must_use]
pub fn has_tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Says that the test of this thread is skipped. Use [`crate::skip!`].
pub fn say(reason: &str) {
    let target = std::env::current_exe().ok();
    let target = target.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
    let target = target.to_string_lossy();
    // Cargo appends a hash.
    let target = target.rsplit_once('-').map_or(&*target, |(name, _)| name);
    let thread = std::thread::current();
    let line = format!("SKIPPED: {target}::{}: {reason}\n", thread.name().unwrap_or("?"));
    // Not by eprintln!, whose text libtest keeps to itself when a test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("FDBROKER_SKIPS")
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(file)
    {
        let _ = file.write_all(line.as_bytes());
    }
}

/// Ends the test and says why.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::say(&format!($($reason)*));
        return;
    }};
}

/// Ends the test unless it is run by root.
#[macro_export]
macro_rules! require_root {
    () => {
        if !$crate::skip::is_root() {
            $crate::skip!("needs root");
        }
    };
}

/// Ends the test unless a tool is installed.
#[macro_export]
macro_rules! require_tool {
    ($name:expr) => {
        if !$crate::skip::has_tool($name) {
            $crate::skip!("needs {}", $name);
        }
    };
}
