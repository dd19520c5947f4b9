//! Files that are not in the page cache: the worker has them read ahead, and each gets its verdict.

use std::fs::File;

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::trace::by_process;
use fdbroker_tests::{Caller, Env, Trace, require_root, require_tool, wait_until};
use rustix::fs::{Advice, fadvise, fsync};

const FILES: usize = 200;

#[test]
fn a_worker_has_the_files_of_its_batch_read_ahead_when_reading_is_slow() {
    require_root!();
    require_tool!("strace");
    let env = Env::build().broker_arg("--workers").broker_arg("1").start_spawned();
    let tree = env.dir().join("tree");
    files::many(&tree, FILES, &[b'x'; 6000]);
    files::write(&tree.join("eicar"), EICAR);
    for nth in 0..FILES {
        let file = File::open(tree.join(format!("0/{nth}"))).expect("open");
        fsync(&file).expect("fsync");
        fadvise(&file, 0, None, Advice::DontNeed).expect("fadvise");
    }
    let workers = wait_until("workers", || {
        Some(env.named("fdscand-worker")).filter(|workers| !workers.is_empty())
    });
    // Traced, every read takes long enough.
    let trace = Trace::attach(env.dir(), &workers, true, "pread64,fadvise64");
    let output = env.fdscan(&Caller::root(), ["-i".as_ref(), tree.as_path()]);
    let lines = trace.finish();
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(output.line("Clean:"), Some(format!("Clean:      {FILES}")), "{output}");
    assert_eq!(output.line("Matches:"), Some("Matches:    1".to_owned()), "{output}");
    let hints = lines.iter().filter(|line| line.contains("fadvise64(")).count();
    assert!(hints > 0, "no hint by {:?}", by_process(&lines).keys());
    let refused = lines.iter().find(|line| line.contains("fadvise64(") && !line.ends_with("= 0"));
    assert_eq!(refused, None);
}
