//! Without a broker there is one line that says so and what to do, and never exit status 0.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use fdbroker_tests::files::Scratch;
use fdbroker_tests::{Caller, Output, Program, require_root};

use crate::stage::{Stage, only_complaint};

#[track_caller]
fn scan(runtime: &Path, caller: &Caller) -> Output {
    let fdscan = Program::new("fdscan").caller(caller).arg("--runtime-dir").arg(runtime);
    fdscan.arg("/etc/passwd").output().expect_code(2)
}

#[test]
fn no_broker() {
    let scratch = Scratch::new();
    for runtime in [scratch.path().to_path_buf(), scratch.path().join("gone")] {
        let output = scan(&runtime, &Caller::own());
        let shown = runtime.display();
        let line = format!(
            "fdscan: no broker at {shown}/client.sock; start one with \
             `fdbroker --runtime-dir {shown}` or use --private"
        );
        assert_eq!((only_complaint(&output), output.text()), (line, String::new()));
    }
}

#[test]
fn a_socket_that_was_left_behind() {
    let scratch = Scratch::new();
    for name in ["client.sock", "admin.sock"] {
        drop(UnixDatagram::bind(scratch.path().join(name)).unwrap());
    }
    let output = scan(scratch.path(), &Caller::own());
    let complaint = only_complaint(&output);
    assert!(complaint.contains("nobody listens at"), "{output}");
    assert!(complaint.contains("start fdbroker again or use --private"), "{output}");
    assert_eq!(output.text(), "");
    let status = Program::new("fdbrokerctl").arg("--runtime-dir").arg(scratch.path()).arg("status");
    let output = status.output().expect_code(2);
    let _ = only_complaint(&output);
}

#[test]
fn a_broker_that_is_not_for_this_user() {
    require_root!();
    let stage = Stage::new();
    std::fs::set_permissions(stage.env.runtime(), PermissionsExt::from_mode(0o700)).unwrap();
    let output = scan(stage.env.runtime(), &stage.caller);
    let complaint = only_complaint(&output);
    assert!(complaint.contains("you may not connect to the broker"), "{output}");
    assert!(complaint.ends_with("or use --private"), "{output}");
}
