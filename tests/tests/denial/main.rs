//! What a caller may not read is denied, as the kernel would deny it to that caller; and no worker ever gets
//! a descriptor of it, which is observed, not inferred from the outcome.

mod observed;

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fdbroker_common::client::{Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, Program, require_root, require_tool, skip};

const DENIED: &str = "permission denied DENIED";

/// A tree with one file that everybody may read and three things that only root may, all EICAR.
fn tree(env: &Env) -> PathBuf {
    let tree = env.dir().join("tree");
    files::write(&tree.join("public"), EICAR);
    files::write(&tree.join("secret"), EICAR);
    files::own(&tree.join("secret"), 0, 0, 0o600);
    files::write(&tree.join("closed/inside"), EICAR);
    files::own(&tree.join("closed"), 0, 0, 0o700);
    files::write(&tree.join("listed/hidden"), EICAR);
    files::own(&tree.join("listed"), 0, 0, 0o744);
    tree
}

/// Scans one descriptor as a user who holds a connection and nothing else.
fn scan_descriptor(env: &Env, caller: &Caller, descriptor: OwnedFd) -> Outcome {
    let connection = env.connect(caller);
    let mut client = connection.client();
    let target = Target::from_descriptor(descriptor, b"target".to_vec());
    let mut scan = client.scan(ScanOptions::default(), [target].into_iter());
    let mut reports = Vec::new();
    for event in &mut scan {
        if let Event::Report(report) = event.expect("a scan") {
            reports.push(report);
        }
    }
    assert!(scan.is_finished());
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0).outcome
}

fn path_descriptor(path: &Path) -> OwnedFd {
    let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(path);
    options.expect("root can").into()
}

#[test]
fn a_descriptor_that_only_proves_visibility_does_not_open_the_file() {
    require_root!();
    let env = Env::start_spawned();
    let tree = tree(&env);
    let caller = Caller::user(2000);
    for secret in ["secret", "closed", "closed/inside"] {
        // fdscan as this user could not even make the descriptor of the last one.
        let outcome = scan_descriptor(&env, &caller, path_descriptor(&tree.join(secret)));
        let expected = match secret {
            // A directory above does not matter once the file itself is held, and it is readable.
            "closed/inside" => Outcome::Match { rules: vec!["EICAR_Test_File".into()] },
            _ => Outcome::Denied,
        };
        assert_eq!(outcome, expected, "{secret}");
    }
    files::own(&tree.join("closed/inside"), 0, 0, 0o600);
    let outcome = scan_descriptor(&env, &caller, path_descriptor(&tree.join("closed/inside")));
    assert_eq!(outcome, Outcome::Denied);
}

#[test]
fn a_descriptor_that_can_write_is_no_right_to_read() {
    require_root!();
    let env = Env::start_spawned();
    let secret = tree(&env).join("secret");
    let caller = Caller::user(2000);
    for options in [OpenOptions::new().write(true), OpenOptions::new().read(true).write(true)] {
        let descriptor = options.open(&secret).expect("root can").into();
        assert_eq!(scan_descriptor(&env, &caller, descriptor), Outcome::Denied, "{options:?}");
    }
    // What somebody was given opened for reading they may have scanned.
    let matched = Outcome::Match { rules: vec!["EICAR_Test_File".into()] };
    let given = File::open(&secret).expect("root can").into();
    assert_eq!(scan_descriptor(&env, &caller, given), matched);
}

#[test]
fn a_name_decides_nothing_and_tells_nothing() {
    require_root!();
    let env = Env::start_spawned();
    let tree = tree(&env);
    let caller = Caller::user(2000);
    let absent = tree.join("closed/absent");
    let hidden = tree.join("closed/inside");
    let output = env.fdscan(&caller, [&absent, &hidden]);
    // Behind a directory that may not be searched, present and absent look the same.
    for path in [absent, hidden] {
        assert!(output.text().contains(&format!("{}: {DENIED}", path.display())), "{output}");
    }
    assert_eq!(output.code, Some(2), "{output}");
}

/// Whether fdscan as this caller reads the file.
#[track_caller]
fn assert_reads(env: &Env, caller: &Caller, path: &Path, reads: bool) {
    let output = env.fdscan(caller, [path]);
    let (code, line) = if reads { (0, "OK") } else { (2, DENIED) };
    assert!(output.text().starts_with(&format!("{}: {line}\n", path.display())), "{output}");
    assert_eq!(output.code, Some(code), "{caller:?}: {output}");
}

#[test]
fn supplementary_groups_count_as_the_kernel_counts_them() {
    require_root!();
    let env = Env::start_spawned();
    let of_group = env.file("of-group", b"nothing");
    files::own(&of_group, 0, 3000, 0o640);
    let not_for_group = env.file("not-for-group", b"nothing");
    files::own(&not_for_group, 0, 3000, 0o604);
    let [member, other] = [Caller::user(2000).group(3000), Caller::user(2000)];
    // Alternating, so that an opener that is kept would show the groups of somebody else.
    for _ in 0..2 {
        assert_reads(&env, &member, &of_group, true);
        assert_reads(&env, &other, &of_group, false);
        assert_reads(&env, &member, &not_for_group, false);
        assert_reads(&env, &other, &not_for_group, true);
    }
    // A main group counts too.
    let main = Caller { uid: 2002, gid: 3000, groups: Vec::new() };
    assert_reads(&env, &main, &of_group, true);
}

#[test]
fn access_control_lists_count_as_the_kernel_counts_them() {
    require_root!();
    require_tool!("setfacl");
    let env = Env::start_spawned();
    let set = |entry: &str, path: &Path| {
        let setfacl = Path::new("/usr/bin/setfacl");
        Program::at(setfacl).args(["-m", entry]).arg(path).output().code == Some(0)
    };
    let granted = env.file("granted", b"nothing");
    files::own(&granted, 0, 0, 0o600);
    let taken = env.file("taken", b"nothing");
    let group = env.file("group", b"nothing");
    files::own(&group, 0, 0, 0o600);
    if !set("u:2000:r", &granted) || !set("u:2000:-", &taken) || !set("g:3000:r", &group) {
        skip!("/tmp keeps no access control lists");
    }
    let [first, second] = [Caller::user(2000), Caller::user(2001)];
    assert_reads(&env, &first, &granted, true);
    assert_reads(&env, &second, &granted, false);
    assert_reads(&env, &first, &taken, false);
    assert_reads(&env, &second, &taken, true);
    assert_reads(&env, &second, &group, false);
    assert_reads(&env, &second.group(3000), &group, true);
}
