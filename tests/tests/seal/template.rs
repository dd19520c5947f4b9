//! A template compiles rules before its filter stands, because that needs executable memory. What holds
//! it until then is Landlock.

use fdbroker_tests::trace::{Trace, by_process};
use fdbroker_tests::{Env, require_root, require_tool};

#[test]
fn a_template_can_open_nothing_before_it_hears_of_rules() {
    require_root!();
    require_tool!("strace");
    let env = Env::build().rule("one.yar", "rule one { condition: false }").start_spawned();
    let supervisor = env.named("fdscand")[0];
    let calls = "execve,landlock_create_ruleset,landlock_restrict_self,recvmsg";
    let trace = Trace::attach(env.dir(), &[supervisor], true, calls);
    assert_eq!(env.ctl(["reload"]).code, Some(0));
    let lines = trace.finish();
    let processes = by_process(&lines);
    let is_template = |calls: &&Vec<&str>| calls.iter().any(|call| call.contains("SCM_RIGHTS"));
    let templates: Vec<_> = processes.values().filter(is_template).collect();
    let fresh = templates.iter().find(|calls| calls.iter().any(|call| call.starts_with("execve(")));
    let calls = fresh.unwrap_or_else(|| panic!("no new template: {lines:#?}"));
    let at = |what: &str| calls.iter().position(|call| call.contains(what));
    let made = at("landlock_create_ruleset({").expect("a set of rules");
    let handled = calls[made];
    // Older strace does not name the later rights.
    for right in ["EXECUTE", "WRITE_FILE", "READ_FILE", "READ_DIR", "MAKE_SOCK"] {
        assert!(handled.contains(&format!("LANDLOCK_ACCESS_FS_{right}")), "{right}: {handled}");
    }
    let enforced = at("landlock_restrict_self(").expect("enforced");
    assert!(calls[enforced].ends_with("= 0"), "{}", calls[enforced]);
    assert!(made < enforced && Some(enforced) < at("SCM_RIGHTS"), "{calls:#?}");
}
