//! Colours, and how much is told.

use fdbroker_tests::files::EICAR;
use fdbroker_tests::terminal::On;
use fdbroker_tests::{Program, Terminal};

use crate::stage::Stage;

const FOUND: &str = "EICAR_Test_File \x1b[1;31mFOUND\x1b[0m";

/// What a terminal was written.
#[track_caller]
fn on_terminal(program: Program) -> String {
    let mut terminal = Terminal::start(program, On::Both, 80);
    let (code, signal) = terminal.finish();
    assert_eq!((code, signal), (Some(1), None), "{:?}", terminal.written());
    terminal.written()
}

#[test]
fn outcomes_are_coloured_on_a_terminal_unless_that_is_not_wanted() {
    let stage = Stage::new();
    let _ = stage.env.file("t/found", EICAR);
    let _ = stage.env.file("t/clean", b"hay");
    let fdscan = || stage.fdscan().arg("--no-progress").arg(stage.env.dir().join("t"));
    let written = on_terminal(fdscan());
    assert!(written.contains(FOUND) && written.contains(" \x1b[32mOK\x1b[0m\r\n"), "{written:?}");
    assert!(on_terminal(fdscan().variable("NO_COLOR", "")).contains(FOUND));
    let without = [
        fdscan().variable("NO_COLOR", "1"),
        fdscan().variable("NO_COLOR", "1").variable("CLICOLOR_FORCE", "1"),
        fdscan().variable("CLICOLOR", "0"),
        fdscan().arg("--color=never"),
        fdscan().arg("--json").arg("--color=always"),
    ];
    for program in without {
        let written = on_terminal(program);
        assert!(!written.contains('\x1b'), "{written:?}");
    }
    let output = fdscan().output();
    assert!(!output.text().contains('\x1b'), "{output}");
    for program in [fdscan().variable("CLICOLOR_FORCE", "1"), fdscan().args(["--color", "always"])]
    {
        let output = program.output();
        assert!(output.text().contains(FOUND), "{output}");
    }
}

#[test]
fn quiet_leaves_the_exit_status_and_what_could_not_be_scanned() {
    let stage = Stage::new();
    let found = stage.env.file("t/found", EICAR);
    let clean = stage.env.file("t/clean", b"hay");
    let gone = stage.env.dir().join("gone");
    let fdscan = || stage.env.fdscan_program(&stage.caller);
    for option in ["-q", "--quiet"] {
        for (path, code) in [(&found, 1), (&clean, 0), (&gone, 2)] {
            let output = fdscan().arg(option).arg(path).output().expect_code(code);
            assert_eq!(output.text(), "", "{output}");
            let complaint = format!("{}: No such file or directory ERROR\n", gone.display());
            assert_eq!(output.errors(), if code == 2 { &complaint } else { "" });
        }
    }
}

#[test]
fn advice_is_given_to_who_wants_it() {
    let stage = Stage::new();
    let gone = stage.env.dir().join("gone");
    let output = stage.fdscan().arg("--verbose-errors").arg(&gone).output().expect_code(2);
    let line = format!("{}: No such file or directory ERROR\n", gone.display());
    assert_eq!(output.text(), line);
    let advice = format!("fdscan: {}: the system refused it; ", gone.display());
    assert!(output.errors().starts_with(&advice), "{output}");
    let output = stage.fdscan().arg("-v").arg(&gone).output().expect_code(2);
    let runtime = stage.env.runtime().display();
    assert!(output.errors().starts_with(&format!("fdscan: broker at {runtime}\n")), "{output}");
    assert!(output.errors().contains("fdscan: 1 rules ("), "{output}");
    assert!(output.errors().contains(&advice), "{output}");
}
