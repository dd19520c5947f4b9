//! A tree of small files with one rule, and with many.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::Row;
use super::contest::Contest;
use crate::measure::Output;
use crate::peers::Peer;
use crate::stage::{Stage, WORKERS, with};
use crate::{Settings, pipeline_command};

const TREE: &str = "20,000 files of 6 KiB, one rule";

/// One rule: `yr`, clamd, `yara`, the bare pipeline, and a plain read.
pub fn one_rule(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let tree = stage.tree();
    let name = tree.as_os_str();
    let yr = Peer::Yr.find().map(|yr| move || with(stage.yr_one(&yr, &["-r"]), &[name]));
    let yara = Peer::Yara.find().map(|yara| {
        let threads = ["-r", "-p", WORKERS].map(OsStr::new);
        move || with(with(Command::new(&yara), &threads), &[stage.rule_file().as_os_str(), name])
    });
    let clamdscan = Peer::Clamdscan.find().and_then(|program| {
        let clamd = stage.clamd()?;
        Ok(move || with(clamd.clamdscan(&program), &["--multiscan".as_ref(), name]))
    });
    Contest::new(TREE, || with(stage.fdscan(stage.one()), &["-i".as_ref(), name]))
        .against("`yr scan -r`", 0.8, yr)
        .against("`clamdscan --fdpass --multiscan`", 0.05, clamdscan)
        .against("bare pipeline", 1.6, Ok(|| pipeline_command("pipeline", tree)))
        .against(
            "bare pipeline with an opener's calls",
            None,
            Ok(|| pipeline_command("vetted", tree)),
        )
        .against("plain read, one process", None, Ok(|| pipeline_command("read", tree)))
        .against("`yara -r -p 2`", None, yara)
        .run(settings.runs, || ())
}

/// Many rules, on that tree and on the executables of the system.
pub fn many_rules(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let tree = ("the same tree, 1,200 rules", stage.tree());
    let programs = ("/usr/bin, 1,200 rules", Path::new("/usr/bin"));
    [tree, programs]
        .into_iter()
        .flat_map(|(case, place)| many(stage, settings, case, place))
        .collect()
}

fn many(stage: &Stage, settings: &Settings, case: &'static str, place: &Path) -> Vec<Row> {
    let options = ["-i".as_ref(), "--no-summary".as_ref(), place.as_os_str()];
    let ours = || with(stage.fdscan(stage.many()), &options);
    let theirs = Peer::Yr.find().and_then(|yr| {
        stage.yr_many(&yr)?;
        Ok(move || with(stage.yr_many(&yr).expect("compiled"), &[place.as_os_str()]))
    });
    if let Ok(theirs) = &theirs {
        let found = [pairs_of_fdscan(ours()), pairs_of_yr(theirs())];
        eprintln!("bench: {case}: matches of fdscan, of yr: {found:?}");
    }
    Contest::new(case, ours)
        .against("`yr scan -C`, 2 threads", 1.0, theirs)
        .run(settings.runs, || ())
}

/// How many pairs of rule and file match: `PATH: RULE,RULE FOUND`.
fn pairs_of_fdscan(command: Command) -> usize {
    let output = Output::new();
    output.time(command);
    let text = output.text();
    let rules = text.lines().filter_map(|line| line.strip_suffix(" FOUND")?.rsplit_once(": "));
    rules.map(|(_, rules)| rules.split(',').count()).sum()
}

/// The same: `RULE PATH`.
fn pairs_of_yr(command: Command) -> usize {
    let output = Output::new();
    output.time(command);
    output.text().lines().filter(|line| line.starts_with("bench_")).count()
}
