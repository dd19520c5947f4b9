//! Where things are by default, and how the sockets below a runtime directory are called.

/// Runtime directory of the system broker.
pub const RUNTIME_DIR: &str = "/run/fdbroker";
/// Configuration of the system broker.
pub const CONFIG_FILE: &str = "/etc/fdbroker/fdbroker.toml";
/// Rules that a broker loads unless told otherwise.
pub const RULES_DIR: &str = "/etc/fdbroker/rules.d";

/// Socket for scan requests. It exists only once scans can be served, unless a service manager listens
/// on it: then connections wait in its queue.
pub const CLIENT_SOCKET: &str = "client.sock";
/// Socket for requests of those who have a grant, beneath granted trees. Only there if there are grants.
pub const GRANTED_SOCKET: &str = "granted.sock";
/// Socket to which the scanner connects.
pub const SCANNER_SOCKET: &str = "scanner.sock";
/// Socket for administration.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// All of them, the one first that a service manager may hold.
pub const SOCKETS: [&str; 4] = [CLIENT_SOCKET, GRANTED_SOCKET, SCANNER_SOCKET, ADMIN_SOCKET];
