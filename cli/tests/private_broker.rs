//! `fdscan` with a private broker that a script plays.
//!
//! One test in a program of its own: a script that is written while another thread forks could not be
//! executed ("text file busy").

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with `fdscan` in it, removed when dropped.
struct Installed(PathBuf);

impl Installed {
    fn new() -> Self {
        let name = format!("fdscan-private-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_fdscan"), dir.join("fdscan")).unwrap();
        Self(dir)
    }

    /// Puts a script beside it and returns the exit status, standard output and standard error.
    fn scan(&self, script: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let broker = self.0.join("fdbroker");
        fs::write(&broker, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&broker, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(self.0.join("fdscan"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_end_of_a_private_broker_is_told_once_and_is_never_clean() {
    let installed = Installed::new();

    let says_why = "echo \"$*: bad rules\" >&2; exit 2";
    let (status, out, error) = installed.scan(says_why, &["--rules", "/etc", "/tmp"]);
    assert_eq!(error, "--private-on-stdin --rules /etc: bad rules\n");
    assert_eq!((status, out.as_str()), (Some(2), ""));

    let (status, _, error) = installed.scan("kill -9 $$", &["--private", "/tmp"]);
    assert_eq!(error, "fdscan: the private broker was ended by signal 9\n");
    assert_eq!(status, Some(2));

    // It closes the connection but does not end: it is killed, and nothing of it is left.
    let marker = installed.0.join("pid");
    let lingers = format!("echo $$ > {}; exec sleep 600 <&-", marker.display());
    let (status, _, error) = installed.scan(&lingers, &["--private", "/tmp"]);
    assert_eq!(error, "fdscan: the private broker was ended by signal 9\n");
    assert_eq!(status, Some(2));
    let pid = fs::read_to_string(marker).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}
