//! `fdscan` from its first to its last step.
//!
//! Runs as the user. Whatever goes wrong ends in a message that says what to do, and never in exit
//! status 0.

use std::io::{self, StdoutLock};
use std::os::fd::AsFd;
use std::time::Instant;

use fdbroker_common::client::{ClientError, Event, Scan};
use fdbroker_common::client_link::Refusal;
use fdbroker_common::totals::Totals;
use nix::sys::signal::Signal;

use crate::args::Args;
use crate::broker::{Broker, BrokerError};
use crate::output::{Output, Summary, complain, plain};
use crate::signals::{self, Signals};
use crate::targets::{Targets, TargetsError};

/// A file of this size is judged in a moment.
const SMALL_BYTES: u64 = 1024 * 1024;

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
                StartError::Broker(error) if error.private_helps() && !args.granted => {
                    " or use --private"
                }
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
    let notes_rules = broker.is_private() && !args.quiet;
    if args.verbose {
        complain(&format_args!("fdscan: {}", broker.describe()));
    }
    let mut output = Output::new(args.style());
    let begun = Instant::now();
    // A thread costs as much as one small file, of which there are no counts to be told.
    let signals = if is_one_small_file(args) { None } else { Signals::watch() };
    let (client, mut replacement) = broker.client();
    let mut scan = client
        .scan(args.scan_options(), targets)
        .resuming(args.patience(), |interruption| replacement.connect(interruption));
    if let Some(signals) = &signals {
        scan = scan.stopping(signals.as_fd());
    }

    let mut teller =
        Teller { output, signals: signals.as_ref(), notes_rules, verbose: args.verbose };
    let mut counted = Totals::default();
    let stopped = teller.tell(&mut scan, &mut counted).err();
    output = teller.output;
    output.arrive();

    let mut totals = scan.totals();
    // Counts of a scan that has not ended: what nobody reports file by file is known from the opener.
    totals.bytes = totals.bytes.max(counted.bytes);
    if args.scan_options().omit_clean {
        totals.clean = totals.clean.max(counted.clean);
    }
    let mut summary = Summary {
        totals,
        duration: begun.elapsed(),
        rules: scan.rules(),
        exit_code: totals.exit_code(),
        error: scan.source().list_failure().map(|error| {
            let reason = plain(error);
            format!("cannot read the list of files: {reason}")
        }),
        interrupted: false,
    };
    drop(scan);
    match (&stopped, signals.and_then(|signals| signals.caught())) {
        (Some(Stopped::Client(_)), Some(signal)) => {
            interrupt(signal, &mut summary, &mut output);
            let _ = broker.finish(None);
            Ok(signals::end_by(signal))
        }
        _ => {
            let hint = granted_hint(args, &broker, &stopped, &summary);
            let status = end(broker, stopped, &mut summary, &mut output);
            hint.into_iter().for_each(|hint| complain(&format_args!("fdscan: {hint}")));
            Ok(status)
        }
    }
}

/// What a user could do who was refused, or denied files; one line at the end.
fn granted_hint(
    args: &Args,
    broker: &Broker,
    stopped: &Option<Stopped>,
    summary: &Summary,
) -> Option<&'static str> {
    let refused = Some(Refusal::NotAllowed);
    let told = match stopped {
        Some(Stopped::Client(ClientError::Refused(refusal))) => Some(*refusal),
        _ => None,
    };
    if args.granted && told == refused {
        Some("no grant names you; scan without --granted, or ask the administrator of the broker")
    } else if summary.totals.denied > 0 && !args.quiet && broker.has_unused_grants() {
        Some("what you may not read may have been granted to you; try --granted")
    } else {
        None
    }
}

/// Whether a signal may end the process as it is.
fn is_one_small_file(args: &Args) -> bool {
    let one = match args.paths.as_slice() {
        [path] if args.files_from.is_none() => std::fs::metadata(path),
        _ => return false,
    };
    one.is_ok_and(|about| about.is_file() && about.len() < SMALL_BYTES)
}

/// Tells the counts of a scan that a signal ended. Nobody may be there any more to read them.
fn interrupt(signal: Signal, summary: &mut Summary, output: &mut Output<StdoutLock<'static>>) {
    let reason = format!("interrupted by {signal}");
    complain(&format_args!("fdscan: {reason}; not everything was scanned"));
    summary.error = Some(reason);
    summary.interrupted = true;
    summary.exit_code = signals::status(signal);
    let _ = output.summary(summary);
}

/// Tells every event as it comes.
struct Teller<'a> {
    output: Output<StdoutLock<'static>>,
    signals: Option<&'a Signals>,
    /// Whether it is worth a note that there are no rules.
    notes_rules: bool,
    verbose: bool,
}

impl Teller<'_> {
    /// Takes all events, and notes the counts of the opener.
    fn tell(&mut self, scan: &mut Scan<'_, Targets>, counted: &mut Totals) -> Result<(), Stopped> {
        while let Some(event) = scan.next() {
            if let Event::Progress(totals) = self.event(event.map_err(Stopped::Client)?)? {
                *counted = totals;
                self.output.count(&totals);
            }
            if !scan.has_ready() {
                self.output.flush().map_err(Stopped::Output)?;
                self.output.draw();
            }
            // A scan that never waits would not see it.
            if self.is_stopped() {
                return Err(Stopped::Client(ClientError::Stopped));
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.signals.is_some_and(|signals| signals.caught().is_some())
    }

    /// Tells one event and gives it back.
    fn event(&mut self, event: Event) -> Result<Event, Stopped> {
        match &event {
            Event::Report(report) => self.output.report(report).map_err(Stopped::Output)?,
            Event::Accepted(rules) => {
                if self.verbose {
                    let (count, generation) = (rules.count, rules.generation);
                    self.output.complain(&format_args!("fdscan: {count} rules ({generation})"));
                }
                if rules.count <= 1 && std::mem::take(&mut self.notes_rules) {
                    self.output.complain(
                        &"fdscan: note: only the built-in EICAR test rule is loaded; use --rules DIR or put rules into /etc/fdbroker/rules.d",
                    );
                }
            }
            // A private broker on the same terminal gets the same signal.
            Event::Interrupted(_) if self.is_stopped() => {}
            Event::Interrupted(refusal) => {
                self.output.flush().map_err(Stopped::Output)?;
                self.output.complain(&interrupted(*refusal));
            }
            Event::Resumed => self.output.complain(&"fdscan: resumed"),
            Event::Progress(_) => {}
        }
        Ok(event)
    }
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
