//! Where records go, which places are refused, and what becomes of a broker without an auditor.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use fdbroker_tests::{Caller, Env, Program, files, proc, require_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::Place;

#[test]
fn a_file_that_is_made_can_be_read_by_its_group_and_written_by_root_alone() {
    require_root!();
    let place = Place::new();
    let env = place.start_json();
    let meta = fs::metadata(place.log()).expect("stat");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o640));
    env.stop();
    let first = place.lines();
    // The next broker appends.
    place.start_json().stop();
    let both = place.lines();
    assert!(both.len() == 2 * first.len() && both.starts_with(&first), "{both:#?}");
    // Even when the last record was not written whole.
    let mut log = fs::File::options().append(true).open(place.log()).expect("open");
    std::io::Write::write_all(&mut log, b"{\"time\":").expect("write");
    place.start_json().stop();
    let all = place.lines();
    assert_eq!(all.len(), 3 * first.len() + 1, "{all:#?}");
    assert!(all[2 * first.len() + 1].contains("\"start\""), "{all:#?}");
}

#[test]
fn a_file_that_others_could_have_chosen_is_refused() {
    require_root!();
    let place = Place::new();
    let config = place.to_file("");
    let victim = place.dir().join("victim");
    let log = place.log();
    let cases: [(&str, &dyn Fn()); 4] = [
        ("Too many levels of symbolic links", &|| symlink(&victim, &log).expect("symlink")),
        ("can be written by others", &|| {
            files::write(&log, b"");
            fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("chmod");
        }),
        ("can be written by others", &|| {
            files::write(&log, b"");
            files::own(&log, 2000, 0, 0o644);
        }),
        ("has several names", &|| {
            files::write(&victim, b"");
            fs::hard_link(&victim, &log).expect("link");
        }),
    ];
    for (reason, prepare) in cases {
        files::write(&victim, b"precious");
        prepare();
        let env = Env::build().idle();
        let program = Program::new("fdbroker").arg("--config").arg(&config);
        let output = program.arg("--runtime-dir").arg(env.runtime()).output().expect_code(2);
        let told = format!("auditor: {}: {reason}", log.display());
        assert!(output.errors().contains(&told), "{output}");
        fs::remove_file(&log).expect("unlink");
    }
}

#[test]
fn without_a_word_in_the_configuration_records_go_to_standard_error() {
    require_root!();
    let env = Env::start_spawned();
    assert_eq!(env.fdscan(&Caller::user(2000), [env.file("f", b"nothing")]).code, Some(0));
    env.broker().wait_for("event=\"request\" uid=2000 gid=2000 ");
    let place = Place::new();
    let config = place.config("to = \"off\"");
    let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
    assert_eq!(env.fdscan(&Caller::user(2000), [env.file("f", b"nothing")]).code, Some(0));
    assert!(env.named("fdb-auditor").is_empty());
    assert!(!env.log().contains("event="), "{}", env.log());
}

#[test]
fn a_killed_auditor_ends_the_broker_loudly() {
    require_root!();
    let place = Place::new();
    let mut env = place.start_json();
    let auditor = env.named("fdb-auditor")[0];
    kill(Pid::from_raw(i32::try_from(auditor).expect("a pid")), Signal::SIGKILL).expect("kill");
    let output = env.take_broker().finish().expect_code(2);
    assert!(output.errors().contains("the auditor ended"), "{output}");
}

#[test]
fn the_auditor_has_an_identity_of_its_own_and_one_capability() {
    require_root!();
    const NOBODY: u32 = 65_534;
    const SYS_PTRACE: u64 = 1 << 19;
    let env = Env::start_spawned();
    assert_eq!(env.fdscan(&Caller::root(), [env.file("f", b"nothing")]).code, Some(0));
    let [auditor] = env.named("fdb-auditor")[..] else { panic!("no auditor") };
    let auditor = proc::status(auditor).expect("it lives");
    assert!(auditor.uids.iter().all(|uid| ![0, NOBODY].contains(uid)), "{auditor:?}");
    assert!(auditor.gids.iter().all(|gid| ![0, NOBODY].contains(gid)), "{auditor:?}");
    assert!(auditor.groups.is_empty(), "{auditor:?}");
    assert_eq!((auditor.cap_prm & !SYS_PTRACE, auditor.cap_eff & !SYS_PTRACE), (0, 0));
    assert_eq!([auditor.cap_inh, auditor.cap_bnd, auditor.cap_amb], [0; 3], "{auditor:?}");
    assert_eq!((auditor.no_new_privs, auditor.seccomp), (1, 2), "{auditor:?}");
    for other in ["fdb-dispatcher", "fdb-opener"] {
        let other = proc::status(env.named(other)[0]).expect("it lives");
        assert_ne!(auditor.uids, other.uids);
    }
}
