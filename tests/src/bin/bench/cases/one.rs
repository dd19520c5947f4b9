//! One file: a large one, a small one by a process of its own, a small one over a held connection.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fdbroker_common::client::{Client, Event, Target};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::outcome::Outcome;

use super::Row;
use super::contest::Contest;
use crate::Settings;
use crate::measure::{Measured, Samples};
use crate::peers::Peer;
use crate::stage::{Stage, with};

/// Requests over a held connection in each round.
const REQUESTS: usize = 400;

/// 2 GiB, which is in the page cache.
pub fn large_file(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let large = || stage.large().as_os_str();
    let yr = Peer::Yr.find().map(|yr| move || with(stage.yr_one(&yr, &[]), &[large()]));
    Contest::new("one file of 2 GiB, one rule", || with(stage.fdscan(stage.one()), &[large()]))
        .against("`yr scan`", 1.05, yr)
        .run(settings.runs, || ())
}

/// From the start of the process to its end.
pub fn whole_process(stage: &Stage, settings: &Settings) -> Vec<Row> {
    let file = stage.file();
    let file = file.as_os_str();
    let clamdscan = Peer::Clamdscan.find().and_then(|program| {
        let clamd = stage.clamd()?;
        Ok(move || with(clamd.clamdscan(&program), &[file]))
    });
    let yr = Peer::Yr.find().map(|yr| move || with(stage.yr_one(&yr, &[]), &[file]));
    let ours = || with(stage.fdscan(stage.one()), &[file]);
    let rules = stage.one().rules().expect("rules").as_os_str();
    let private = || with(stage.private_fdscan(), &["--rules".as_ref(), rules, file]);
    let mut rows = Contest::new("one small file, whole process", ours)
        .against("`clamdscan --fdpass FILE`", 0.4, clamdscan)
        .against("`true`", None, Ok(|| Command::new("/bin/true")))
        .run(settings.runs * 8, || ());
    rows.extend(
        Contest::new("one small file with a private broker", private)
            .against("`yr scan FILE`", None, yr)
            .run(settings.runs * 2, || ()),
    );
    rows
}

/// One request after the other with the client library, and with clamd's descriptor passing.
pub fn held_connection(stage: &Stage, settings: &Settings) -> Vec<Row> {
    const CASE: &str = "one small file over a held connection";
    let against = ["clamd `FILDES` in `IDSESSION`, median", "the same, 99th percentile"];
    let targets = [0.35, 1.0];
    let clamd = match stage.clamd() {
        Ok(clamd) => clamd,
        Err(reason) => {
            let row = |(against, target)| Row::new(CASE, against, target, Err(reason.clone()));
            return against.into_iter().zip(targets).map(row).collect();
        }
    };
    let file = stage.file();
    let mut session = clamd.session();
    let mut client = Client::connect(stage.one().runtime()).expect("a broker");
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..=settings.runs {
        // The first is to warm up.
        let keep = |samples: &mut Samples, begun: Instant| {
            if round > 0 {
                samples.push(begun.elapsed());
            }
        };
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            request(&mut client, &file);
            keep(&mut ours, begun);
        }
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            let file = OwnedFd::from(File::open(&file).expect("open"));
            assert!(session.is_clean(&file));
            keep(&mut theirs, begun);
        }
    }
    let row = |((against, target), share)| {
        let measured = Measured::times(ours.quantile(share), theirs.quantile(share));
        Row::new(CASE, against, target, Ok(measured))
    };
    against.into_iter().zip(targets).zip([0.5, 0.99]).map(row).collect()
}

/// Opens a file, has it judged, and sees that it is clean.
pub fn request(client: &mut Client, file: &Path) {
    let mut outcomes = 0;
    let targets = std::iter::once(Target::open(file));
    for event in client.scan(ScanOptions::default(), targets) {
        if let Event::Report(report) = event.expect("a scan") {
            assert_eq!(report.outcome, Outcome::Clean);
            outcomes += 1;
        }
    }
    assert_eq!(outcomes, 1);
}
