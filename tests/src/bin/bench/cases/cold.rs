//! The tree with a page cache that was dropped before each run.

use super::Row;
use super::contest::Contest;
use crate::peers::Peer;
use crate::stage::{Stage, with};
use crate::{Settings, pipeline_command};

/// Against `yr` as it comes, `yr` with threads enough to keep the disk busy, and the bare pipeline.
pub fn cold_cache(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let tree = stage.tree();
    rustix::fs::sync();
    let yr = |threads: &'static [&'static str]| {
        Peer::Yr.find().map(|yr| {
            move || {
                let mut command = stage.yr_one(&yr, threads);
                command.arg(tree);
                command
            }
        })
    };
    let ours = || with(stage.fdscan(stage.one()), &["-i".as_ref(), tree.as_os_str()]);
    Contest::new("20,000 files of 6 KiB, one rule, cold page cache", ours)
        .against("`yr scan -r`", 0.45, yr(&["-r"]))
        .against("`yr scan -r --threads=32`", None, yr(&["-r", "--threads=32"]))
        .against("bare pipeline", None, Ok(|| pipeline_command("pipeline", tree)))
        .run(settings.runs, drop_caches)
}

fn drop_caches() {
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches");
}
