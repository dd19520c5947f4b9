//! Who causes very many records, and a disk that takes none.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, ScanOptions};
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, require_root, wait_until};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::stage::{Place, of};

/// Records of a class and user in a minute (docs/audit.md).
const RECORDS_MAX: usize = 6000;

#[test]
fn what_a_user_causes_beyond_a_bound_is_counted_and_hides_nothing_of_others() {
    require_root!();
    let place = Place::new();
    let env = place.start_json();
    let tree = env.dir().join("tree");
    let surplus = 500;
    files::many(&tree, RECORDS_MAX + surplus, EICAR);
    assert_eq!(env.fdscan(&Caller::user(2000), ["-i".as_ref(), tree.as_path()]).code, Some(1));
    let found = env.file("found", EICAR);
    assert_eq!(env.fdscan(&Caller::user(2001), [&found]).code, Some(1));
    env.stop();
    let records = place.records();
    let files =
        |uid: u32| of(&records, "file").iter().filter(|record| record["uid"] == uid).count();
    assert_eq!((files(2001), of(&records, "request").len()), (1, 2));
    let [begins] = of(&records, "suppressing")[..] else { panic!("not told when it begins") };
    assert_eq!((&begins["uid"], &begins["class"]), (&json!(2000), &json!("matches")));
    // If a minute ended meanwhile, there are two counts.
    let counts = of(&records, "suppressed");
    let count: u64 = counts.iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!(usize::try_from(count).expect("a count") + files(2000), RECORDS_MAX + surplus);
}

#[test]
fn a_scan_waits_for_an_auditor_that_does_not_keep_up_and_no_record_is_left_out() {
    require_root!();
    let place = Place::new();
    let config = place.to_file("format = \"json\"\nfiles = \"all\"");
    let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
    let tree = env.dir().join("tree");
    // Far more than fit a socket.
    files::many(&tree, 5_000, b"nothing");
    let mut feed = env.feed(&Caller::user(2000));
    feed.scan(&env.file("first", b"nothing"), "OK");
    let auditor = env.named("fdb-auditor")[0];
    let auditor = Pid::from_raw(i32::try_from(auditor).expect("a pid"));
    kill(auditor, Signal::SIGSTOP).expect("kill");
    feed.give(&tree);
    feed.running().wait_for_output(&format!("{}/", tree.display()));
    let mut fdscan = feed.close();
    assert_eq!(fdscan.ended_within(Duration::from_secs(2)), None, "it waits");
    kill(auditor, Signal::SIGCONT).expect("kill");
    let output = fdscan.finish().expect_code(0);
    assert_eq!(output.line("Clean:"), Some("Clean:      5001".to_owned()));
    let records = place.after_requests(1);
    assert_eq!(of(&records, "file").len(), 5_001);
}

#[test]
fn scans_of_nothing_wait_for_the_auditor_too() {
    require_root!();
    let place = Place::new();
    let env = place.start_json();
    let connection = env.connect(&Caller::user(2000));
    let client = connection.as_fd().try_clone_to_owned().expect("dup");
    let mut client: Channel<ClientToOpener, OpenerToClient> =
        Channel::adopt(client).expect("a link");
    let mut scan = |wait: u64| {
        let wait = Some(Duration::from_secs(wait));
        connection.socket().set_read_timeout(wait).expect("a timeout");
        client.send(&ClientToOpener::Start(ScanOptions::default()), &[]).expect("it listens");
        client.send(&ClientToOpener::End, &[]).expect("it listens");
        loop {
            match client.receive() {
                Ok((OpenerToClient::Done(_), _)) => return true,
                Ok(_) => {}
                Err(ChannelError::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert!(scan(60));
    let auditor = env.named("fdb-auditor")[0];
    let auditor = Pid::from_raw(i32::try_from(auditor).expect("a pid"));
    kill(auditor, Signal::SIGSTOP).expect("kill");
    // Far more than fit a socket.
    let waits = (0..3_000).position(|_| !scan(3));
    kill(auditor, Signal::SIGCONT).expect("kill");
    let told = waits.expect("nothing is noted that the auditor does not take");
    // The first, those that were told, and the one that waited.
    let records = place.after_requests(told + 2);
    assert!(of(&records, "opener.cut").is_empty());
}

/// A small file system in memory, gone after the test.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("{} was not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_is_told_keeps_no_scan_from_its_end_and_the_records_come_later() {
    require_root!();
    let place = Place::new();
    let disk = place.dir().join("disk");
    fs::create_dir(&disk).expect("mkdir");
    mount(Some("fdbroker-test"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=755"))
        .expect("tmpfs");
    let small = Small(disk.clone());
    let log = disk.join("audit.log");
    let config = place.config(&format!("to = \"{}\"\nformat = \"json\"", log.display()));
    let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
    let filler = disk.join("filler");
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    let found = env.file("found", EICAR);
    // The page that the file has already has room for some.
    for _ in 0..20 {
        assert_eq!(env.fdscan(&Caller::user(2000), [&found]).code, Some(1));
    }
    env.broker().wait_for("the file takes no records: No space left on device");
    fs::remove_file(&filler).expect("unlink");
    let records = wait_until("all records", || {
        let text = fs::read_to_string(&log).expect("records");
        let records: Vec<serde_json::Value> =
            text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        (of(&records, "request").len() == 20).then_some(records)
    });
    let numbers: Vec<Option<u64>> = records.iter().map(|record| record["seq"].as_u64()).collect();
    let expected: Vec<Option<u64>> = (1..=records.len() as u64).map(Some).collect();
    assert_eq!(numbers, expected, "each once and in order");
    env.stop();
    drop(small);
}
