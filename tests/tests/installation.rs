//! `make install` puts exactly these files below `DESTDIR`, as an ordinary step that needs no privilege,
//! and `make uninstall` removes them and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fdbroker_tests::{program, require_tool};

/// All that is installed, below the prefix.
const FILES: [(&str, u32); 27] = [
    ("bin/fdbrokerctl", 0o755),
    ("bin/fdscan", 0o755),
    ("lib/systemd/system/fdbroker.service", 0o644),
    ("lib/systemd/system/fdbroker.socket", 0o644),
    ("lib/systemd/system/fdscand.service", 0o644),
    ("lib/sysusers.d/fdbroker.conf", 0o644),
    ("lib/tmpfiles.d/fdbroker.conf", 0o644),
    ("sbin/fdbroker", 0o755),
    ("sbin/fdscand", 0o755),
    ("share/bash-completion/completions/fdbroker", 0o644),
    ("share/bash-completion/completions/fdbrokerctl", 0o644),
    ("share/bash-completion/completions/fdscan", 0o644),
    ("share/bash-completion/completions/fdscand", 0o644),
    ("share/fish/vendor_completions.d/fdbroker.fish", 0o644),
    ("share/fish/vendor_completions.d/fdbrokerctl.fish", 0o644),
    ("share/fish/vendor_completions.d/fdscan.fish", 0o644),
    ("share/fish/vendor_completions.d/fdscand.fish", 0o644),
    ("share/man/man1/fdbrokerctl.1", 0o644),
    ("share/man/man1/fdscan.1", 0o644),
    ("share/man/man5/fdbroker.toml.5", 0o644),
    ("share/man/man7/fdbroker-protocol.7", 0o644),
    ("share/man/man8/fdbroker.8", 0o644),
    ("share/man/man8/fdscand.8", 0o644),
    ("share/zsh/site-functions/_fdbroker", 0o644),
    ("share/zsh/site-functions/_fdbrokerctl", 0o644),
    ("share/zsh/site-functions/_fdscan", 0o644),
    ("share/zsh/site-functions/_fdscand", 0o644),
];

/// Where the configuration is, whatever the prefix.
const CONFIG: &str = "etc/fdbroker/fdbroker.toml";

/// Files below a directory, by their paths from there, with their modes.
fn modes(directory: &Path, from: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap()) {
        let (path, facts) = (entry.path(), entry.metadata().unwrap());
        if facts.is_dir() {
            found.extend(modes(&path, from));
        } else {
            let name = path.strip_prefix(from).unwrap().to_string_lossy().into_owned();
            found.insert(name, facts.permissions().mode() & 0o7777);
        }
    }
    found
}

fn make(target: &str, destination: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let output = Command::new("make")
        .arg(target)
        .arg(format!("DESTDIR={}", destination.display()))
        .arg("PREFIX=/opt/fd")
        .arg(format!("OUT={}", program::directory().display()))
        .current_dir(repository)
        // Of the make that runs the tests.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .expect("make starts");
    assert!(output.status.success(), "make {target}: {output:?}");
}

#[test]
fn make_install_and_uninstall_agree_on_the_files() {
    require_tool!("make");
    require_tool!("install");
    // A name that a shell would take apart.
    let destination = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("a destination");
    let _ = fs::remove_dir_all(&destination);
    make("install", &destination);
    let prefix = destination.join("opt/fd");
    let expected: BTreeMap<String, u32> =
        FILES.map(|(name, mode)| (name.to_owned(), mode)).into_iter().collect();
    assert_eq!(modes(&prefix, &prefix), expected);
    // Beside the prefix, only what is looked for there whatever the prefix is.
    let mut all: Vec<String> = modes(&destination, &destination).into_keys().collect();
    all.retain(|name| !name.starts_with("opt/fd/"));
    assert_eq!(all, [CONFIG]);
    for unit in ["fdbroker", "fdscand"] {
        let unit = prefix.join(format!("lib/systemd/system/{unit}.service"));
        let unit = fs::read_to_string(unit).unwrap();
        let starts = unit.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('='));
        let mut programs = starts.map(|(_, command)| command.split(' ').next().unwrap());
        assert!(programs.all(|program| destination.join(&program[1..]).is_file()), "{unit}");
    }

    let others = prefix.join("share/man/man1/other.1");
    fs::write(&others, "of somebody else").unwrap();
    make("install", &destination);
    make("uninstall", &destination);
    let left: Vec<String> = modes(&destination, &destination).into_keys().collect();
    assert_eq!(left, ["opt/fd/share/man/man1/other.1"]);

    // A configuration that the administrator has changed is theirs.
    make("install", &destination);
    fs::write(destination.join(CONFIG), "workers = 3\n").unwrap();
    make("install", &destination);
    make("uninstall", &destination);
    assert_eq!(fs::read_to_string(destination.join(CONFIG)).unwrap(), "workers = 3\n");
    fs::remove_dir_all(&destination).expect("rmdir");
}
