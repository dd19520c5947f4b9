//! Who has a grant, who is denied, and that neither changes anything for others.

use fdbroker_tests::files::EICAR;
use fdbroker_tests::{Caller, Env, proc, require_root};

use crate::stage::{DENIED, FOUND, GRANTED, Stage, expected, is_served};

const NO_GRANT: &str = "no grant names you";

#[track_caller]
fn is_refused(stage: &Stage, caller: &Caller) {
    let output = stage.granted(caller, &[stage.path("tree")]).expect_code(2);
    assert!(output.errors().contains(NO_GRANT), "{caller:?}: {output}");
    assert_eq!(output.text(), "", "{caller:?}");
}

#[track_caller]
fn is_granted(stage: &Stage, caller: &Caller) {
    let output = stage.granted(caller, &[stage.path("tree")]).expect_code(1);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/file", FOUND)]), "{output}");
}

#[test]
fn only_who_is_named_has_a_grant_and_root_has_no_other_right_there() {
    require_root!();
    let stage = Stage::new();
    let file = stage.secret("tree/file", EICAR);
    is_granted(&stage, &Caller::user(GRANTED));
    for caller in [Caller::user(2001), Caller::nobody(), Caller::root()] {
        is_refused(&stage, &caller);
    }
    // Everything else is as without grants.
    let output = stage.fdscan(&Caller::user(GRANTED), std::slice::from_ref(&file)).expect_code(2);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/file", DENIED)]), "{output}");
    assert!(output.errors().contains("try --granted"), "{output}");
    let output = stage.fdscan(&Caller::root(), &[file]).expect_code(1);
    assert_eq!(stage.outcomes(&output), expected(&[("tree/file", FOUND)]), "{output}");
    is_served(&stage, &Caller::user(2001));
}

#[test]
fn a_group_has_a_grant_as_long_as_one_is_in_it() {
    require_root!();
    let stage = Stage::with("[[grant]]\ngroups = [3000]\ntrees = [\"DIR/tree\"]\n");
    let _ = stage.secret("tree/file", EICAR);
    let member = Caller::user(GRANTED).group(3000);
    let main = Caller { uid: 2001, gid: 3000, groups: Vec::new() };
    // In turns: an opener that is kept would serve the same user without the group.
    for _ in 0..2 {
        is_granted(&stage, &member);
        is_refused(&stage, &Caller::user(GRANTED));
        is_refused(&stage, &Caller::user(GRANTED).group(3001));
        is_granted(&stage, &main);
    }
}

#[test]
fn grants_of_one_user_add_up_and_those_of_others_do_not() {
    require_root!();
    let stage = Stage::with_directories(
        "[[grant]]\nusers = [2000, 2001]\ntrees = [\"DIR/tree\"]\n\
         [[grant]]\nusers = [2000]\ngroups = [3000]\ntrees = [\"DIR/second\"]\n",
        &["second"],
    );
    let paths = ["tree/file", "second/file"].map(|name| stage.secret(name, EICAR));
    let both = expected(&[("tree/file", FOUND), ("second/file", FOUND)]);
    let first = expected(&[("tree/file", FOUND), ("second/file", DENIED)]);
    let member = Caller::user(2001).group(3000);
    for (caller, outcomes) in [
        (Caller::user(2000), &both),
        (Caller::user(2001), &first),
        (member, &both),
        (Caller::user(2001), &first),
    ] {
        let output = stage.granted(&caller, &paths).expect_code(1);
        assert_eq!(&stage.outcomes(&output), outcomes, "{caller:?}: {output}");
    }
}

#[test]
fn who_is_denied_is_refused_on_both_sockets_and_root_never() {
    require_root!();
    let stage = Stage::with(
        "[[deny]]\nusers = [2000]\ngroups = [3000, 0]\n\
         [[grant]]\nusers = [2000, 0]\ntrees = [\"DIR/tree\"]\n",
    );
    let file = stage.secret("tree/file", EICAR);
    for caller in [Caller::user(2000), Caller::user(2001).group(3000)] {
        let output = stage.fdscan(&caller, std::slice::from_ref(&file)).expect_code(2);
        assert!(output.errors().contains("does not serve this user"), "{caller:?}: {output}");
        let output = stage.granted(&caller, std::slice::from_ref(&file)).expect_code(2);
        assert!(output.errors().contains(NO_GRANT), "{caller:?}: {output}");
    }
    is_served(&stage, &Caller::user(2001));
    is_served(&stage, &Caller::root());
    is_granted(&stage, &Caller::root());
}

#[test]
fn without_grants_there_is_no_socket_for_them_and_no_advice_to_use_it() {
    require_root!();
    let env = Env::start_spawned();
    let path = env.file("secret", EICAR);
    fdbroker_tests::files::own(&path, 0, 0, 0o600);
    let user = Caller::user(GRANTED);
    let output = env.fdscan(&user, ["--granted".as_ref(), path.as_path()]).expect_code(2);
    assert!(output.errors().contains("grants nothing"), "{output}");
    let output = env.fdscan(&user, [&path]).expect_code(2);
    assert!(!output.errors().contains("--granted"), "{output}");
}

#[test]
fn its_opener_is_a_user_of_its_own_with_one_capability_and_one_more_layer_of_landlock() {
    require_root!();
    let stage = Stage::new();
    let _ = stage.secret("tree/file", EICAR);
    is_granted(&stage, &Caller::user(GRANTED));
    let [opener] = stage.env.named("fdb-opener")[..] else {
        panic!("{:?}", stage.env.status());
    };
    let status = proc::status(opener).expect("it is idle");
    let [uid, ..] = status.uids[..] else { panic!("{status:?}") };
    assert!((65_520..=65_531).contains(&uid), "{status:?}");
    assert_eq!((status.uids, status.gids), (vec![uid; 4], vec![uid; 4]));
    assert_eq!((status.cap_prm, status.cap_eff, status.cap_bnd), (1 << 2, 1 << 2, 0));
    assert_eq!((status.cap_inh, status.cap_amb, status.no_new_privs, status.seccomp), (0, 0, 1, 2));
    // Root's has another one.
    let file = stage.path("tree/file");
    let _ = stage.fdscan(&Caller::root(), &[file]).expect_code(1);
    let others = stage.env.named("fdb-opener").into_iter().filter(|pid| *pid != opener);
    let others: Vec<u32> = others.filter_map(proc::status).map(|status| status.uids[0]).collect();
    assert!(others.len() == 1 && others[0] != uid, "{others:?}, {uid}");
    // Nobody is served by an opener of somebody else.
    let output = stage.env.ctl(["self-test"]);
    assert!(!output.text().contains("FAILED"), "{output}");
}
