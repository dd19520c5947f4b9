//! Leases, named pipes and devices: what an open would wait for, wake or change is left alone.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_common::client::Target;
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::{Outcome, SkipReason};
use fdbroker_tests::{Caller, Program, Running, Watch, files, proc, require_root, require_tool};
use fdbroker_tests::{skip, wait_until};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::stage::{FOUND, NEEDLE, Stage, expected, outcomes, reports};

/// How long the kernel lets a holder keep a lease that somebody else's open has broken.
fn lease_break_time() -> Duration {
    let seconds = fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap_or_default();
    Duration::from_secs(seconds.trim().parse().unwrap_or(45))
}

/// A process of the owner that holds a write lease on a file and never gives it up.
fn lease(path: &Path, owner: &Caller) -> Running {
    // F_SETLEASE is 1024, F_WRLCK 1 (linux/fcntl.h).
    let script = "$SIG{IO} = 'IGNORE'; $| = 1; open(F, '+<', $ARGV[0]) or die $!; \
                  fcntl(F, 1024, 1) or die $!; print qq(leased\\n); sleep 1 while 1;";
    let holder = Program::at(Path::new("/usr/bin/perl")).caller(owner).args(["-e", script]);
    let holder = holder.arg(path).spawn();
    holder.wait_for_output("leased");
    holder
}

#[test]
fn a_file_that_is_leased_to_its_owner_is_busy_and_nobody_waits_for_it() {
    require_root!();
    require_tool!("perl");
    let stage = Stage::new();
    let owner = Caller::user(2001);
    let leased = stage.env.file("t/leased", NEEDLE);
    files::own(&leased, 2001, 2001, 0o644);
    for nth in 0..50 {
        let _ = stage.env.file(&format!("t/f{nth}"), if nth % 10 == 3 { NEEDLE } else { b"hay" });
    }
    let holder = lease(&leased, &owner);
    for caller in [Caller::user(2000), Caller::root(), owner] {
        let begun = Instant::now();
        let arguments = ["--no-summary".into(), stage.path("t")];
        let output = stage.env.fdscan(&caller, arguments).expect_code(1);
        let mut found = outcomes(&output, &stage.path("t"));
        assert_eq!(found.remove("leased").as_deref(), Some("kept busy by a lease ERROR"));
        assert_eq!(found.len(), 50);
        assert_eq!(found.values().filter(|outcome| *outcome == FOUND).count(), 5, "{output}");
        assert!(begun.elapsed() < lease_break_time() / 2, "{:?}", begun.elapsed());
    }
    assert!(proc::is_alive(holder.pid()));
    drop(holder);
    let output = stage.env.fdscan(&Caller::user(2000), [&leased]).expect_code(1);
    assert!(output.text().contains(FOUND), "{output}");
    stage.comes_to_rest();
}

fn designate(path: &Path) -> OwnedFd {
    let flags = nix::libc::O_PATH | nix::libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path).expect("open").into()
}

/// Node numbers of which opening alone has an effect: a new terminal, a new loop device, a watchdog that
/// resets the machine, a tape that is rewound; and some that would be read for ever.
const DEVICES: [(&str, SFlag, u64, u64); 7] = [
    ("terminal", SFlag::S_IFCHR, 5, 2),
    ("loop-control", SFlag::S_IFCHR, 10, 237),
    ("watchdog", SFlag::S_IFCHR, 10, 130),
    ("tape", SFlag::S_IFCHR, 9, 0),
    ("random", SFlag::S_IFCHR, 1, 8),
    ("zero", SFlag::S_IFCHR, 1, 5),
    ("loop", SFlag::S_IFBLK, 7, 99),
];

#[test]
fn devices_and_pipes_are_never_opened_whoever_asks_and_however() {
    require_root!();
    let stage = Stage::new();
    if Path::new("/sys/block/loop99").exists() {
        skip!("there is a loop99");
    }
    let tree = stage.path("t");
    let clean = stage.env.file("t/clean", b"hay");
    for (name, kind, major, minor) in DEVICES {
        let path = tree.join(name);
        mknod(&path, kind, Mode::empty(), makedev(major, minor)).expect("mknod");
        files::own(&path, 0, 0, 0o666);
    }
    let fifo = tree.join("fifo");
    mknod(&fifo, SFlag::S_IFIFO, Mode::empty(), 0).expect("mkfifo");
    files::own(&fifo, 0, 0, 0o666);
    let script = "exec 3>\"$0\"; echo opened";
    let writer = Program::at(Path::new("/bin/sh")).args(["-c", script]).arg(&fifo).spawn();
    wait_until("the writer waits", || {
        let line = fs::read(format!("/proc/{}/cmdline", writer.pid())).ok()?;
        let waits = line.starts_with(b"sh\0") && proc::status(writer.pid())?.state == 'S';
        waits.then_some(())
    });
    let mut all: Vec<(&str, &str)> = DEVICES.map(|(name, ..)| (name, "device SKIPPED")).into();
    all.extend([("fifo", "named pipe SKIPPED"), ("clean", "OK")]);

    let watch = Watch::on([&tree]);
    let opened = |watch: &Watch| {
        let events = watch.events().into_iter().filter(|event| !event.contains("ISDIR"));
        events.filter(|event| !event.ends_with(" clean")).collect::<Vec<_>>()
    };
    for caller in [Caller::user(2000), Caller::root()] {
        // Met in a directory, and named.
        let output = stage.env.fdscan(&caller, ["--no-summary".as_ref(), tree.as_path()]);
        assert_eq!(outcomes(&output, &tree), expected(&all), "{output}");
        assert_eq!(output.code, Some(0));
        let paths = all.iter().map(|(name, _)| tree.join(name).into_os_string());
        let output = stage.env.fdscan(&caller, paths.chain(["--no-summary".into()]));
        assert_eq!(outcomes(&output, &tree), expected(&all), "{output}");
        // By descriptor, without any name that could be opened.
        let connection = stage.env.connect(&caller);
        let targets = all.iter().map(|(name, _)| tree.join(name));
        let targets = targets.map(|path| Target::from_descriptor(designate(&path), b"x".into()));
        let found = reports(&mut connection.client(), ScanOptions::default(), targets.collect());
        for report in found {
            let (name, _) = all[usize::try_from(report.target).unwrap()];
            let outcome = match name {
                "clean" => Outcome::Clean,
                "fifo" => Outcome::Skipped(SkipReason::Fifo),
                _ => Outcome::Skipped(SkipReason::Device),
            };
            assert_eq!(report.outcome, outcome, "{name}");
        }
        assert_eq!(opened(&watch), Vec::<String>::new(), "{caller:?}");
    }
    assert!(!Path::new("/sys/block/loop99").exists(), "a loop device was made");
    assert!(proc::is_alive(writer.pid()));
    assert_eq!(writer.text(), "", "the writer was released");
    // The watch sees it when a device is opened.
    drop(fs::File::open(tree.join("zero")).expect("open"));
    assert!(!opened(&watch).is_empty());
    drop(clean);
    stage.comes_to_rest();
}
