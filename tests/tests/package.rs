//! The Debian package, for real: built of the executables that all tests run, then installed, used, upgraded
//! and purged in a Debian 12 root that is made for it (`scripts/test-deb.sh`). Takes one to three minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fdbroker_tests::skip::has_tool;
use fdbroker_tests::{program, require_root, require_tool, skip};

/// The script has told why this machine cannot do it.
const SKIPPED: i32 = 77;

/// Seconds after which something hangs.
const BOUND: &str = "900";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Makes the package with this version.
fn package(version: &str, directory: &Path) -> PathBuf {
    let output = Command::new(repository().join("scripts/deb.sh"))
        .arg(env!("CARGO"))
        .arg(program::directory())
        .arg(directory)
        .env("DEB_VERSION", version)
        .output()
        .expect("the script starts");
    assert!(output.status.success(), "{}", text(&output));
    let ends = format!("_{version}_");
    let mut made = fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().path());
    made.find(|path| path.to_string_lossy().contains(&ends)).expect("a package")
}

#[test]
fn the_package_installs_works_upgrades_and_purges_on_debian_12() {
    require_root!();
    for tool in ["dpkg-deb", "dpkg-shlibdeps", "unshare", "nsenter", "timeout"] {
        require_tool!(tool);
    }
    if !has_tool("mmdebstrap") && !has_tool("debootstrap") {
        skip!("needs mmdebstrap or debootstrap");
    }
    if !has_tool("cargo-deb") && !repository().join("target/tools/bin/cargo-deb").exists() {
        skip!("needs cargo-deb, which `make deb` installs");
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("mkdir");
    let packages = ["0.1.0-1", "0.1.0-2"].map(|version| package(version, &directory));
    if has_tool("lintian") {
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error"]).arg(&packages[0]);
        let output = lintian.output().expect("lintian starts");
        assert!(output.status.success(), "{}", text(&output));
    }
    let output = Command::new("timeout")
        .args(["--kill-after=30", BOUND])
        .arg(repository().join("scripts/test-deb.sh"))
        .args(&packages)
        .output()
        .expect("timeout starts");
    let said = text(&output);
    if output.status.code() == Some(SKIPPED) {
        skip!("{}", said.lines().last().unwrap_or_default());
    }
    assert!(output.status.success(), "{said}");
    // What was run, for whoever looks: `cargo test --test package -- --nocapture`.
    println!("{said}");
    fs::remove_dir_all(directory).expect("rmdir");
}
