//! Probes of workers, as an administrator's connection asks for them.

use fdbroker_common::admin_link::{AdminReply, AdminRequest};
use fdbroker_common::channel::{Channel, ChannelError};
use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::lease_link::LossCause;
use fdbroker_common::paths;
use fdbroker_common::probe::Act;
use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, require_root, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;

type Link = Channel<AdminRequest, AdminReply>;

fn admin(env: &Env) -> Link {
    let socket = connect_seqpacket(&env.runtime().join(paths::ADMIN_SOCKET)).expect("admin.sock");
    let link = Link::adopt(socket).expect("a channel");
    // An answer that never comes fails the test.
    let patience = TimeVal::seconds(60);
    setsockopt(&link, sockopt::ReceiveTimeout, &patience).expect("setsockopt");
    link
}

fn probe(link: &mut Link, act: Act) -> AdminReply {
    link.send(&AdminRequest::Probe(act), &[]).expect("a request");
    link.receive().expect("an answer").0
}

const SIGSYS: AdminReply = AdminReply::Probed(LossCause::Signal(31));

#[test]
fn a_probe_counts_neither_as_a_loss_nor_as_a_worker() {
    require_root!();
    let env = Env::start_spawned();
    let eicar = env.file("eicar", EICAR);
    assert_eq!(env.fdscan(&Caller::user(2000), [&eicar]).code, Some(1));
    let before = wait_until("no worker is lent", || {
        Some(env.status()).filter(|status| status.workers_lent == 0)
    });
    let mut link = admin(&env);
    for _ in 0..50 {
        assert_eq!(probe(&mut link, Act::Execve), SIGSYS);
    }
    let after = env.status();
    assert_eq!((after.workers_lent, after.workers_lost), (0, before.workers_lost));
    // The one that was lent may have ended since.
    assert!(after.workers <= before.workers, "{after:?} {before:?}");
    assert!(!env.log().contains("SIGSYS"), "{}", env.log());
    assert_eq!(env.fdscan(&Caller::user(2000), [&eicar]).code, Some(1));
}

#[test]
fn a_probe_that_hangs_is_answered_and_a_second_one_closes_the_connection() {
    require_root!();
    let env = Env::start_spawned();
    let template = env.named("fdscand-templat");
    let template = Pid::from_raw(i32::try_from(template[0]).expect("a pid"));
    kill(template, Signal::SIGSTOP).expect("kill");
    let mut patient = admin(&env);
    patient.send(&AdminRequest::Probe(Act::Fork), &[]).expect("a request");
    let mut eager = admin(&env);
    for _ in 0..2 {
        eager.send(&AdminRequest::Probe(Act::Fork), &[]).expect("a request");
    }
    let end = eager.receive();
    assert!(matches!(end, Err(ChannelError::Closed)), "{end:?}");
    // Nobody else has to wait for it.
    assert!(env.status().generation.is_some());
    let answer = patient.receive().expect("an answer").0;
    assert_eq!(answer, AdminReply::Probed(LossCause::Killed));
    kill(template, Signal::SIGCONT).expect("kill");
    assert_eq!(probe(&mut patient, Act::Execve), SIGSYS);
    // A worker has the name of its template until it has one of its own.
    wait_until("one template", || (env.named("fdscand-templat").len() == 1).then_some(()));
}

#[test]
fn a_probe_whose_template_ends_is_answered() {
    require_root!();
    let env = Env::start_spawned();
    let template = env.named("fdscand-templat");
    let template = Pid::from_raw(i32::try_from(template[0]).expect("a pid"));
    kill(template, Signal::SIGSTOP).expect("kill");
    let mut link = admin(&env);
    link.send(&AdminRequest::Probe(Act::Execve), &[]).expect("a request");
    // Asked before, so it has been heard when this is answered.
    let begun = env.status();
    assert!(begun.generation.is_some());
    kill(template, Signal::SIGKILL).expect("kill");
    assert_eq!(link.receive().expect("an answer").0, AdminReply::Probed(LossCause::Unknown));
    // Until there is another one there is nothing to probe.
    let again = wait_until("a new template", || match probe(&mut link, Act::Execve) {
        AdminReply::NotProbed => None,
        answer => Some(answer),
    });
    assert_eq!(again, SIGSYS);
}
