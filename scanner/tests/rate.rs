//! Files per second of one worker. Not run unless asked for:
//! `cargo test --release -p fdbroker-scanner --test rate -- --ignored --nocapture`.
#![allow(missing_docs)]

mod common;

use std::os::fd::OwnedFd;
use std::time::Instant;

use common::{Scanner, file, job};
use fdbroker_common::job_link::Finding;
use fdbroker_common::limits::{BATCH_FILES_MAX, BATCHES_IN_FLIGHT_MAX};

#[test]
#[ignore = "a measurement"]
fn small_files() {
    const FILES: usize = 1024;
    const ROUNDS: usize = 40;
    let mut scanner = Scanner::start();
    let (mut template, _) = scanner
        .ready(1, &[("a.yar", "rule a { strings: $a = \"needle in the hay\" condition: $a }")]);
    let mut worker = template.worker(1);
    let files: Vec<OwnedFd> = (0..FILES)
        .map(|number| file(&vec![u8::try_from(number % 251).unwrap(); 6 * 1024]))
        .collect();
    let started = Instant::now();
    let mut outstanding = 0;
    for batch in (0..ROUNDS).flat_map(|_| files.chunks(BATCH_FILES_MAX)) {
        if outstanding == BATCHES_IN_FLIGHT_MAX {
            worker.answers(BATCH_FILES_MAX);
            outstanding -= 1;
        }
        worker.send(batch.iter().map(|file| job(1, file)).collect(), batch);
        outstanding += 1;
    }
    worker.answers(outstanding * BATCH_FILES_MAX);
    let seconds = started.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let rate = (FILES * ROUNDS) as f64 / seconds;
    println!("{rate:.0} files of 6 KiB a second by one worker");
}

#[test]
#[ignore = "a measurement, and a check for races at start"]
fn a_hundred_starts() {
    let started = Instant::now();
    for number in 0..100 {
        let mut scanner = Scanner::start();
        let (mut template, _) = scanner.ready(number, &[]);
        let mut workers: Vec<_> = (0..3).map(|worker| template.worker(worker)).collect();
        for worker in &mut workers {
            assert_eq!(worker.scan(b"clean"), Finding::Clean);
        }
    }
    println!("{} ms a start", started.elapsed().as_millis() / 100);
}

#[test]
#[ignore = "takes 2 GiB of memory"]
fn the_largest_file_fits() {
    use fdbroker_common::limits::FILE_BYTES_MAX;

    let mut scanner = Scanner::start();
    let (mut template, _) = scanner.ready(1, &[]);
    let mut worker = template.worker(1);
    let (writer, reader) = common::file_pair(b"");
    writer.set_len(FILE_BYTES_MAX).unwrap();
    let started = Instant::now();
    let answer = worker.judge(job(1, &reader), reader);
    assert_eq!(answer.finding, Finding::Clean);
    assert_eq!(answer.read, FILE_BYTES_MAX);
    println!("{} ms for the largest file", started.elapsed().as_millis());
}
