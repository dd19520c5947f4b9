//! What a caller may not read is denied, and no worker ever gets a descriptor of it: observed at the
//! system calls, not inferred from the outcome.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fdbroker_common::client::{Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::trace::by_process;
use fdbroker_tests::{Caller, Env, Program, Trace, require_root, require_tool, skip, wait_until};

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

/// The lines of a trace that pass descriptors.
fn passing<'a>(lines: &'a [String], call: &str) -> Vec<&'a str> {
    let lines = lines.iter().map(String::as_str);
    lines.filter(|line| line.contains(call) && line.contains("SCM_RIGHTS")).collect()
}

/// The template and the workers that it has forked so far; further ones are followed.
fn scanners(env: &Env) -> Vec<u32> {
    // A worker that is being forked is not named yet, and would be traced twice or not at all.
    let workers = wait_until("all workers are there", || {
        let (workers, status) = (env.named("fdscand-worker"), env.status());
        (u32::try_from(workers.len()).ok()? == status.workers && status.workers_lent == 0)
            .then_some(workers)
    });
    [env.named("fdscand-templat"), workers].concat()
}

fn names(path: &Path) -> String {
    path.to_str().expect("a plain name").to_owned()
}

#[test]
fn no_worker_receives_a_file_that_the_caller_may_not_read() {
    require_root!();
    require_tool!("strace");
    let env = Env::start_spawned();
    let tree = tree(&env);
    let caller = Caller::user(2000);
    // The opener stays for the next connection of the same caller, so it can be watched from its start.
    assert_eq!(env.fdscan(&caller, [env.file("first", b"")]).code, Some(0));
    let opener = env.named("fdb-opener");
    assert_eq!(opener.len(), 1);
    let sent = Trace::attach(env.dir(), &opener, false, "sendmsg,sendto,openat,openat2");
    let received = Trace::attach(env.dir(), &scanners(&env), true, "recvmsg");
    let direct = [tree.clone(), tree.join("secret"), tree.join("public")];
    let output = env.fdscan(&caller, &direct);
    let (sent, received) = (sent.finish(), received.finish());

    assert_eq!(env.named("fdb-opener"), opener, "another opener served than the one watched");
    assert_eq!(output.code, Some(1), "{output}");
    for secret in ["secret", "closed"] {
        let line = format!("{}: {DENIED}", tree.join(secret).display());
        assert!(output.text().contains(&line), "{output}");
    }
    for (lines, call) in [(&sent, "sendmsg"), (&received, "recvmsg")] {
        let passing = passing(lines, call);
        let passes = |name: &str| passing.iter().find(|line| line.contains(&format!("/{name}>")));
        // Without it the trace would prove nothing.
        assert!(passes("public").is_some(), "{lines:#?}");
        for secret in ["secret", "closed", "inside", "hidden"] {
            assert_eq!(passes(secret), None);
        }
    }
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

#[test]
fn root_opens_nothing_and_reads_nothing_from_a_client() {
    require_root!();
    require_tool!("strace");
    let env = Env::start_spawned();
    let tree = tree(&env);
    // Everything that opens, reads or receives.
    let calls =
        "%file,read,pread64,readv,preadv,recvfrom,recvmsg,recvmmsg,getdents64,accept4,sendmsg";
    let trace = Trace::attach(env.dir(), &[env.broker().pid()], false, calls);
    for uid in [2000, 2001, 0] {
        let output = env.fdscan(&Caller::user(uid), [&tree]);
        assert_eq!(output.code, Some(1), "{output}");
    }
    let lines = trace.finish();
    // The connections are shown by the name of the socket.
    let accepted = lines.iter().filter(|line| line.starts_with("accept4("));
    let accepted = accepted.filter(|line| {
        line.rsplit_once("= ").is_some_and(|(_, descriptor)| descriptor.contains("client.sock"))
    });
    assert!(accepted.count() >= 3, "{lines:#?}");
    let of_client = |line: &&String| {
        let reads = ["read", "pread", "recv", "getdents"].iter().any(|call| line.starts_with(call));
        reads && line.contains("client.sock")
    };
    assert_eq!(lines.iter().find(of_client), None);
    // What its children have for standard output is the one exception.
    let opens = |line: &&String| line.starts_with("open") && !line.contains("\"/dev/null\"");
    assert_eq!(lines.iter().find(opens), None);
    let of_target = |line: &&String| line.contains(&names(&tree));
    assert_eq!(lines.iter().find(of_target), None);
}

#[test]
fn no_worker_ever_sees_files_of_two_users() {
    require_root!();
    require_tool!("strace");
    let env = Env::build().broker_arg("--workers").broker_arg("2").start_spawned();
    let users = [2000_u32, 2001];
    let trees = users.map(|uid| {
        let tree = env.dir().join(format!("of-{uid}"));
        files::many(&tree, 1500, b"nothing to be found");
        files::write(&tree.join("own"), EICAR);
        for entry in ["own", "."] {
            files::own(&tree.join(entry), uid, uid, if entry == "." { 0o700 } else { 0o600 });
        }
        tree
    });
    let trace = Trace::attach(env.dir(), &scanners(&env), true, "recvmsg");
    let scans = [0, 1, 0, 1].map(|nth| {
        // Each names both trees.
        env.fdscan_program(&Caller::user(users[nth])).args(&trees).spawn()
    });
    let outputs = scans.map(fdbroker_tests::Running::finish);
    let lines = trace.finish();
    for (nth, output) in outputs.iter().enumerate() {
        let [own, others] = [&trees[nth % 2], &trees[(nth + 1) % 2]];
        assert_eq!(output.code, Some(1), "{output}");
        let text = output.text();
        let found = format!("{}: EICAR_Test_File FOUND\n", own.join("own").display());
        assert!(text.contains(&found), "{nth}: {output}");
        assert!(text.contains(&format!("{}: {DENIED}\n", others.display())), "{nth}");
        assert!(!text.contains(&format!("{}/", others.display())), "{nth}");
        assert_eq!(text.lines().filter(|line| line.ends_with(": OK")).count(), 1500, "{nth}");
    }
    let mut served = [0, 0];
    for (worker, calls) in by_process(&lines) {
        let sees = |tree: &PathBuf| calls.iter().any(|call| call.contains(&names(tree)));
        let seen = trees.each_ref().map(sees);
        assert_ne!(seen, [true, true], "worker {worker} saw files of both users");
        served = [served[0] + usize::from(seen[0]), served[1] + usize::from(seen[1])];
    }
    assert!(served.iter().all(|workers| *workers >= 1), "{served:?}");
}

#[test]
fn a_worker_that_served_is_gone_when_the_client_is() {
    require_root!();
    let env = Env::build().broker_arg("--workers").broker_arg("1").start_spawned();
    let mut before = Vec::new();
    for uid in [2000, 2001, 2000] {
        let file = env.file("clean", b"nothing");
        let mut feed = env.feed(&Caller::user(uid));
        feed.scan(&file, "OK");
        let status = env.status();
        assert_eq!(status.workers_lent, 1, "{status:?}");
        let during = env.named("fdscand-worker");
        assert_eq!(feed.finish().code, Some(0));
        // Of two workers, one was lent; it never comes back.
        let after = wait_until("the lent worker has ended", || {
            let left = env.named("fdscand-worker");
            during.iter().any(|pid| !left.contains(pid)).then_some(left)
        });
        let ended: Vec<u32> = during.into_iter().filter(|pid| !after.contains(pid)).collect();
        assert!(ended.iter().all(|pid| !before.contains(pid)));
        before.extend(ended);
    }
    let left: Vec<&u32> =
        before.iter().filter(|pid| fs::metadata(format!("/proc/{pid}")).is_ok()).collect();
    assert!(left.is_empty(), "{left:?}");
}
