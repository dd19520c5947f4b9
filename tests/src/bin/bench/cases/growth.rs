//! What a file costs in a small tree and in a large one, and that memory does not grow.

use std::path::Path;
use std::time::Duration;

use super::Row;
use super::memory::{peak_kib, rss_kib};
use crate::Settings;
use crate::measure::{Contender, Measured, Samples, interleave};
use crate::stage::Stage;
use crate::trees::{self, DIRECTORIES, FILES_EACH};

/// 20,000 files, or 500,000 if asked for, against 10,000 or 10,000 of these.
pub fn files(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let few = stage.path("few");
    trees::small_files(&few, DIRECTORIES / 2, FILES_EACH);
    let mut rows = vec![row(
        "time per file, 20,000 files",
        "10,000 files",
        per_file(stage, settings.runs, [stage.tree(), &few], [20_000, 10_000]),
    )];
    let full = if settings.full {
        eprintln!("bench: writing 500,000 files");
        let many = stage.path("many");
        trees::small_files(&many, 5000, 100);
        let before = memory(stage);
        let measured = per_file(stage, settings.runs.min(3), [&many, &few], [500_000, 10_000]);
        let after = memory(stage);
        rows.push(Row::new(
            "most memory of broker and opener after 500,000 files",
            "after 20,000",
            1.05,
            Ok(Measured::memory(after, before)),
        ));
        Ok(measured)
    } else {
        Err("BENCH_FULL=1 measures it".to_owned())
    };
    rows.push(Row::new("time per file, 500,000 files", "10,000 files", 1.15, full));
    rows
}

fn memory(stage: &Stage) -> u64 {
    peak_kib(stage.one(), "fdbroker").max(rss_kib(stage.one(), "fdbroker"))
        + peak_kib(stage.one(), "fdb-opener")
}

fn row(case: &'static str, against: &'static str, measured: Measured) -> Row {
    Row::new(case, against, 1.15, Ok(measured))
}

fn per_file(stage: &Stage, runs: usize, trees: [&Path; 2], counts: [u32; 2]) -> Measured {
    let contender = |tree: &'_ Path| {
        let tree = tree.to_path_buf();
        Contender::program(move || {
            let mut command = stage.fdscan(stage.one());
            command.arg("-i").arg(&tree);
            command
        })
    };
    let samples = interleave(runs, trees.map(contender).into(), || ());
    let each = |samples: &Samples, count: u32| {
        let each = samples.0.iter().map(|took| Duration::from_secs_f64(*took) / count);
        Samples(each.map(|each| each.as_secs_f64()).collect())
    };
    Measured::medians(&each(&samples[0], counts[0]), &each(&samples[1], counts[1]))
}
