//! What is beneath a granted tree and what is not: links, `..`, exceptions, names of the same file elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fdbroker_common::client::Target;
use fdbroker_common::client_link::{OpenerToClient, Refusal, ScanOptions};
use fdbroker_common::limits::MESSAGE_BYTES_MAX;
use fdbroker_common::outcome::{Failure, Outcome, SkipReason};
use fdbroker_common::{fdpass, wire};
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, PATIENCE, Watch, poll_until, require_root};
use nix::errno::Errno;

use crate::stage::{DENIED, FOUND, GRANTED, Stage, expected, reports};

/// A tree of all that matters, and a directory beside it that is watched.
fn fill(stage: &Stage) -> Watch {
    let secret = stage.secret("outside/secret", EICAR);
    let _ = stage.secret("tree/file", EICAR);
    let _ = stage.secret("tree/closed/inside", EICAR);
    let _ = stage.secret("tree/private/key", EICAR);
    let _ = stage.secret("tree/privately", b"hay");
    for closed in ["tree", "tree/closed", "outside"] {
        files::own(&stage.path(closed), 0, 0, 0o700);
    }
    stage.link(&secret, "tree/link");
    stage.link(&stage.path("outside"), "tree/links");
    fs::hard_link(&secret, stage.path("tree/hard")).expect("link");
    Watch::on([stage.path("outside"), secret, stage.path("tree/private")])
}

#[test]
fn what_only_root_may_read_is_scanned_beneath_the_tree_and_nowhere_else() {
    require_root!();
    let stage = Stage::new();
    let watch = fill(&stage);
    let user = Caller::user(GRANTED);
    let all = expected(&[
        ("tree/file", FOUND),
        ("tree/closed/inside", FOUND),
        ("tree/privately", "OK"),
        ("tree/private", DENIED),
        ("tree/link", "symbolic link SKIPPED"),
        ("tree/links", "symbolic link SKIPPED"),
        ("tree/hard", DENIED),
    ]);
    let output = stage.granted(&user, &[stage.path("tree")]).expect_code(1);
    assert_eq!(stage.outcomes(&output), all, "{output}");

    // Named one by one, as they come out of a list too.
    let named = ["tree/file", "tree/closed/inside", "tree/link", "tree/hard", "tree/links/secret"];
    let named = named.iter().chain(&["tree/private", "tree/private/key", "tree/private/absent"]);
    let named = named.chain(&["outside", "outside/secret", "outside/absent", "absent", "treetop"]);
    let paths: Vec<PathBuf> = named.map(|name| stage.path(name)).collect();
    let output = stage.granted(&user, &paths).expect_code(1);
    let found = stage.outcomes(&output);
    for (path, outcome) in &found {
        let wanted = match path.as_str() {
            "tree/file" | "tree/closed/inside" => FOUND,
            "tree/link" => "symbolic link SKIPPED",
            _ => DENIED,
        };
        assert_eq!(outcome, wanted, "{path}: {output}");
    }
    assert_eq!(found.len(), paths.len());
    assert_eq!(watch.events(), Vec::<String>::new(), "something outside was opened");
    drop(fs::File::open(stage.path("outside/secret")).expect("root may"));
    assert!(!watch.events().is_empty(), "the watch sees it");
}

#[test]
fn whatever_a_client_of_its_own_writes_as_a_path_leads_beneath_the_tree_or_nowhere() {
    require_root!();
    let stage = Stage::new();
    let watch = fill(&stage);
    let connection = stage.connect(&Caller::user(GRANTED));
    let mut client = connection.client();
    let tree = stage.path("tree").into_os_string().into_string().expect("text");
    let matched = || Outcome::Match { rules: vec!["EICAR_Test_File".into()] };
    let absent = |errno: Errno| Outcome::Error(Failure::System(errno as i32));
    let cases = [
        (format!("{tree}/file"), matched()),
        (format!("{tree}/../outside/secret"), Outcome::Denied),
        (format!("{tree}/closed/../../outside/secret"), Outcome::Denied),
        (format!("{tree}/closed/../file"), Outcome::Denied),
        (format!("{tree}/./file"), Outcome::Denied),
        (format!("{tree}//file"), Outcome::Denied),
        (format!("{tree}/file/"), Outcome::Denied),
        (format!("{tree}/private/../file"), Outcome::Denied),
        ("tree/file".into(), Outcome::Denied),
        (String::new(), Outcome::Denied),
        ("/".into(), Outcome::Denied),
        ("/etc/shadow".into(), Outcome::Denied),
        ("/proc/self/root/etc/shadow".into(), Outcome::Denied),
        (format!("{tree}/links/secret"), Outcome::Denied),
        (format!("{tree}/link"), Outcome::Skipped(SkipReason::SymbolicLink)),
        (format!("{tree}/absent"), absent(Errno::ENOENT)),
        (format!("{tree}/file/x"), absent(Errno::ENOTDIR)),
        (format!("{tree}/{}", "x".repeat(300)), absent(Errno::ENAMETOOLONG)),
    ];
    let targets = cases.iter().map(|(path, _)| Target::granted(Path::new(path))).collect();
    let mut told = reports(&mut client, ScanOptions::default(), targets);
    told.sort_by_key(|report| report.target);
    assert_eq!(told.len(), cases.len());
    for (report, (path, outcome)) in told.iter().zip(&cases) {
        assert_eq!(&report.outcome, outcome, "{path}");
    }
    assert_eq!(watch.events(), Vec::<String>::new(), "something outside was opened");
}

#[test]
fn hard_links_are_read_where_the_grant_says_so() {
    require_root!();
    let stage =
        Stage::with("[[grant]]\nusers = [2000]\ntrees = [\"DIR/tree\"]\nhard_links = true\n");
    let secret = stage.secret("outside/secret", EICAR);
    fs::hard_link(&secret, stage.path("tree/hard")).expect("link");
    let output = stage.granted(&Caller::user(GRANTED), &[stage.path("tree")]).expect_code(1);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/hard", FOUND)]), "{output}");
}

#[test]
fn a_file_that_has_just_lost_a_name_is_not_read_at_once() {
    require_root!();
    let stage = Stage::new();
    let file = stage.secret("tree/file", EICAR);
    // A name that comes and goes: at any moment the number of names may be one, and may have been two when
    // the file was looked up.
    let other = stage.path("other");
    let stop = AtomicBool::new(false);
    let paths = vec![stage.path("tree"); 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::hard_link(&file, &other).expect("link");
                fs::remove_file(&other).expect("unlink");
            }
        });
        // Whoever does that may be kept from it for a while, and then the file is read.
        let refused = poll_until("a refusal", PATIENCE, || {
            let output = stage.granted(&Caller::user(GRANTED), &paths);
            let refused = |line: &str| line.ends_with(DENIED) || line.ends_with("UNSTABLE");
            output.text().lines().any(refused).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        refused.expect("it is noticed");
    });
    // Once it is left alone it is read.
    let output = stage.granted(&Caller::user(GRANTED), &[stage.path("tree")]).expect_code(1);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/file", FOUND)]), "{output}");
}

#[test]
fn links_are_not_followed_and_that_is_said() {
    require_root!();
    let stage = Stage::new();
    let connection = stage.connect(&Caller::user(GRANTED));
    let mut client = connection.client();
    let options = ScanOptions { follow_links: true, ..ScanOptions::default() };
    let mut scan = client.scan(options, std::iter::empty());
    let error = scan.find_map(Result::err).expect("a refusal");
    assert!(error.to_string().contains("beneath granted trees"), "{error}");
    let output = stage.granted(&Caller::user(GRANTED), &["-L".into(), stage.path("tree")]);
    assert!(output.errors().contains("cannot be used with"), "{output}");
    assert_eq!(output.code, Some(2));
}

#[test]
fn descriptors_and_paths_each_belong_to_their_own_socket() {
    require_root!();
    let stage = Stage::new();
    let file = stage.secret("tree/file", EICAR);
    let user = Caller::user(GRANTED);
    // What the user could not even designate: by descriptor, it would be outside of what a path may do.
    let descriptor = fs::File::open(&file).expect("root may").into();
    let by_descriptor = || Target::from_descriptor(descriptor, b"x".to_vec());
    let lost = |connection: &fdbroker_tests::Connection, target: Target| {
        let mut client = connection.client();
        let error = client.scan(ScanOptions::default(), std::iter::once(target));
        error.filter_map(Result::err).next().expect("it ends").to_string()
    };
    let granted = stage.connect(&user);
    let _ = lost(&granted, by_descriptor());
    let own = stage.env.connect(&user);
    let _ = lost(&own, Target::granted(&file));
    for connection in [&granted, &own] {
        // Nothing was said but that the scan began.
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        while let Ok(length @ 1..) = fdpass::receive_plain(connection.socket(), &mut buffer) {
            let message: OpenerToClient = wire::decode(&buffer[..length]).expect("a message");
            assert!(!matches!(message, OpenerToClient::Reports(_)), "{message:?}");
        }
    }
    crate::stage::is_served(&stage, &user);
}

#[test]
fn a_tree_that_is_gone_or_became_a_link_is_left_out_and_the_others_serve() {
    require_root!();
    let stage = Stage::with_directories(
        "[[grant]]\nusers = [2000]\ntrees = [\"DIR/absent\", \"DIR/link\", \"DIR/tree\"]\n",
        &["absent", "link"],
    );
    for name in ["absent", "link"] {
        std::fs::remove_dir(stage.path(name)).expect("rmdir");
    }
    let _ = stage.secret("tree/file", EICAR);
    let _ = stage.secret("outside/secret", EICAR);
    stage.link(&stage.path("outside"), "link");
    let paths = ["absent/x", "link/secret", "tree/file"].map(|name| stage.path(name));
    let output = stage.granted(&Caller::user(GRANTED), &paths).expect_code(1);
    let all = expected(&[("absent/x", DENIED), ("link/secret", DENIED), ("tree/file", FOUND)]);
    assert_eq!(stage.outcomes(&output), all, "{output}");
}

#[test]
fn a_refusal_has_a_remedy() {
    let text = Refusal::ForeignRoot.to_string();
    assert!(text.contains("without -L"), "{text}");
}
