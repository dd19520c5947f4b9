//! Where things are by default, and how the sockets below a runtime directory are called.

use std::path::{Path, PathBuf};

/// Runtime directory of the system broker.
pub const RUNTIME_DIR: &str = "/run/fdbroker";
/// Configuration of the system broker.
pub const CONFIG_FILE: &str = "/etc/fdbroker/fdbroker.toml";
/// Rules that a broker loads unless told otherwise.
pub const RULES_DIR: &str = "/etc/fdbroker/rules.d";

/// Socket for scan requests. It exists only once scans can be served.
#[must_use]
pub fn client_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("client.sock")
}

/// Socket to which the scanner connects.
#[must_use]
pub fn scanner_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("scanner.sock")
}

/// Socket for administration.
#[must_use]
pub fn admin_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("admin.sock")
}
