//! The same at the system calls: who passes which descriptor to whom, and what root does meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::trace::by_process;
use fdbroker_tests::{Caller, Env, Trace, require_root, require_tool, wait_until};

use super::{DENIED, tree};

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
