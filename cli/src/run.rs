//! `fdscan` from its first to its last step.
//!
//! Runs as the user. Whatever goes wrong ends in a message that says what to do, and never in exit
//! status 0.

use std::io::{self, StdoutLock};
use std::time::Instant;

use fdbroker_common::client::{ClientError, Event, Scan};
use fdbroker_common::client_link::Refusal;

use crate::args::Args;
use crate::broker::{Broker, BrokerError};
use crate::output::{Output, Summary, complain, plain};
use crate::targets::{Targets, TargetsError};

/// Exit status when there is no result.
const FAILED: u8 = 2;

/// Why there is nothing to be scanned, or nobody to scan it.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Why a scan stopped before its end.
#[derive(Debug)]
enum Stopped {
    /// The connection.
    Client(ClientError),
    /// Standard output.
    Output(io::Error),
}

/// Scans what the command line names and returns the exit status.
#[must_use]
pub fn run(args: &Args) -> u8 {
    match scan(args) {
        Ok(status) => status,
        Err(error) => {
            let remedy = match &error {
                StartError::Broker(error) if error.private_helps() => " or use --private",
                _ => "",
            };
            complain(&format_args!("fdscan: {error}{remedy}"));
            FAILED
        }
    }
}

fn scan(args: &Args) -> Result<u8, StartError> {
    let targets = Targets::new(args)?;
    let mut broker = Broker::find(args)?;
    let private = broker.is_private();
    let mut output = Output::new(args.style());
    let begun = Instant::now();
    let (client, mut replacement) = broker.client();
    let mut scan = client
        .scan(args.scan_options(), targets)
        .resuming(args.patience(), |interruption| replacement.connect(interruption));

    let stopped = tell(&mut scan, &mut output, private).err();
    output.arrive();

    let mut summary = Summary {
        totals: scan.totals(),
        duration: begun.elapsed(),
        rules: scan.rules(),
        exit_code: scan.totals().exit_code(),
        error: scan.source().list_failure().map(|error| {
            let reason = plain(error);
            format!("cannot read the list of files: {reason}")
        }),
    };
    drop(scan);
    Ok(end(broker, stopped, &mut summary, &mut output))
}

/// Tells every event as it comes.
fn tell(
    scan: &mut Scan<'_, Targets>,
    output: &mut Output<StdoutLock<'static>>,
    private: bool,
) -> Result<(), Stopped> {
    let mut noted = false;
    while let Some(event) = scan.next() {
        match event.map_err(Stopped::Client)? {
            Event::Report(report) => output.report(&report).map_err(Stopped::Output)?,
            Event::Accepted(rules) if private && rules.count <= 1 && !noted => {
                noted = true;
                output.complain(
                    &"fdscan: note: only the built-in EICAR test rule is loaded; use --rules DIR or put rules into /etc/fdbroker/rules.d",
                );
            }
            Event::Interrupted(refusal) => {
                output.flush().map_err(Stopped::Output)?;
                output.complain(&interrupted(refusal));
            }
            Event::Resumed => output.complain(&"fdscan: resumed"),
            Event::Progress(totals) => output.count(&totals),
            Event::Accepted(_) => {}
        }
        if !scan.has_ready() {
            output.flush().map_err(Stopped::Output)?;
            output.draw();
        }
    }
    Ok(())
}

/// Whom the scan waits for.
fn interrupted(refusal: Option<Refusal>) -> &'static str {
    match refusal {
        Some(Refusal::NoScanner) => "fdscan: the scanner went away; waiting for it to come back",
        Some(_) => "fdscan: the broker is overloaded; waiting for it",
        None => "fdscan: the broker went away; waiting for it to come back",
    }
}

/// Ends a private broker, tells what went wrong and the counts, and decides the exit status.
fn end(
    broker: Broker,
    stopped: Option<Stopped>,
    summary: &mut Summary,
    output: &mut Output<StdoutLock<'static>>,
) -> u8 {
    let (complaint, written) = match stopped {
        Some(Stopped::Client(error)) => {
            summary.error = Some(error.to_string());
            (broker.finish(Some(error)), Ok(()))
        }
        Some(Stopped::Output(error)) => (broker.finish(None), Err(error)),
        None => (broker.finish(None).or(summary.error.clone()), Ok(())),
    };
    if summary.error.is_some() || written.is_err() {
        summary.exit_code = not_clean(summary.exit_code);
    }
    if let Some(complaint) = complaint {
        complain(&format_args!("fdscan: {complaint}"));
    }
    match written.and_then(|()| output.summary(summary)) {
        Ok(()) => summary.exit_code,
        // Whoever read the results has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => summary.exit_code,
        Err(error) => {
            let reason = plain(&error);
            complain(&format_args!("fdscan: cannot write to standard output: {reason}"));
            not_clean(summary.exit_code)
        }
    }
}

/// The exit status of a scan that is not whole: a match stays a match.
fn not_clean(status: u8) -> u8 {
    if status == 0 { FAILED } else { status }
}
