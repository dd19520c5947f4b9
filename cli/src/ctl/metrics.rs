//! How a broker is, in the text exposition format of Prometheus (`docs/metrics.md`).
//!
//! Runs as root or as the owner of the broker. Labels are outcomes, a generation and the uids of a few
//! users; never a path. A file is replaced as a whole, so that a collector reads no half of it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fdbroker_common::admin_link::Status;
use fdbroker_common::histogram::{BOUNDS_MS, Histogram};

use super::{CtlError, admin};

/// Users that have metrics of their own, at most: those with most openers.
const USERS_MAX: usize = 20;

/// Asks, and writes to standard output or into a file. If there is no answer a file says so.
pub fn run(dir: &Path, file: Option<&Path>, out: &mut impl Write) -> Result<u8, CtlError> {
    let status = admin::status(dir);
    let Some(file) = file else {
        out.write_all(exposition(Some(&status?)).as_bytes())?;
        return Ok(0);
    };
    let text = exposition(status.as_ref().ok());
    replace(file, text.as_bytes())
        .map_err(|source| CtlError::File { path: file.to_owned(), source })?;
    status.map(|_| 0)
}

/// Writes beside the file, and renames: who reads it finds the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    // Hidden, and with an ending of its own: collectors look at *.prom.
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary: PathBuf = path.with_file_name(temporary);
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        // Whatever the umask is: the collector is another user.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    let written = write();
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// All metrics of a broker; of one that does not answer, that it does not.
fn exposition(status: Option<&Status>) -> String {
    let mut page = Page(String::new());
    page.gauge("up", "Whether the broker answers its administrator.", u8::from(status.is_some()));
    if let Some(status) = status {
        processes(&mut page, status);
        rules(&mut page, status);
        workers(&mut page, status);
        requests(&mut page, status);
        users(&mut page, status);
    }
    page.0
}

fn processes(page: &mut Page, status: &Status) {
    page.head("build_info", "gauge", "Version of fdbrokerctl, which is that of the broker.");
    page.value("build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("uptime_seconds", "Time since the dispatcher started.", status.uptime_s);
    let ready = u8::from(status.generation.is_some());
    page.gauge("scanner_ready", "Whether a scanner is ready to serve.", ready);
    page.counter("errors_total", "Errors of the service that were logged.", status.errors);
}

fn rules(page: &mut Page, status: &Status) {
    page.gauge("rules", "Rules in force, the built-in one included.", status.rules);
    page.head("rules_generation_info", "gauge", "Generation of the rules in force.");
    if let Some(generation) = status.generation {
        page.value("rules_generation_info", &[("generation", &generation)], 1);
    }
    page.gauge(
        "rules_loaded_timestamp_seconds",
        "When the rules in force were loaded, since 1970; 0 if none were.",
        status.loaded_at_s,
    );
    page.counter("reloads_total", "Loads of rules that succeeded, with the first.", status.loads);
    page.counter(
        "reload_failures_total",
        "Loads of rules that failed; the last good ones go on.",
        status.load_failures,
    );
    let good = status.last_load.as_ref().is_some_and(|load| load.refused.is_none());
    page.gauge("last_reload_success", "Whether the last load succeeded.", u8::from(good));
}

fn workers(page: &mut Page, status: &Status) {
    page.gauge("workers_max", "Workers that may be lent at once.", status.workers_max);
    page.gauge("workers", "Workers alive.", status.workers);
    page.gauge("workers_lent", "Workers lent to openers.", status.workers_lent);
    page.gauge("workers_stuck", "Workers that hang and cannot be ended.", status.workers_stuck);
    page.counter(
        "workers_lost_total",
        "Workers lost to a crash, a deadline or a broken protocol.",
        status.workers_lost,
    );
    let help = "How long openers waited for the first worker of a scan.";
    page.histogram("worker_wait_seconds", help, &status.worker_wait);
}

fn requests(page: &mut Page, status: &Status) {
    let count = |which: fn(&&fdbroker_common::admin_link::OpenerStatus) -> bool| {
        status.openers.iter().filter(which).count()
    };
    page.gauge("openers", "Openers alive.", status.openers.len());
    page.gauge("openers_busy", "Openers that have or want workers.", count(|it| it.busy));
    page.gauge("openers_waiting", "Openers that wait for a worker.", count(|it| it.waiting));
    page.counter("connections_total", "Connections that have been served.", status.connections);
    let help = "How long connections lasted, from the wait for their first worker.";
    page.histogram("connection_seconds", help, &status.connection_time);
    page.head("files_total", "counter", "Files by outcome, of connections that have ended.");
    let totals = &status.totals;
    for (outcome, files) in [
        ("clean", totals.clean),
        ("match", totals.matched),
        ("incomplete", totals.incomplete),
        ("unstable", totals.unstable),
        ("denied", totals.denied),
        ("skipped", totals.skipped),
        ("error", totals.errors),
    ] {
        page.value("files_total", &[("outcome", &outcome)], files);
    }
    page.counter("scanned_bytes_total", "Bytes read by workers.", totals.bytes);
}

fn users(page: &mut Page, status: &Status) {
    page.gauge(
        "penalised_users",
        "Users that wait longer for workers, because they have lost many.",
        status.penalised_uids.len(),
    );
    let mut users = BTreeMap::<u32, (u64, u64)>::new();
    for opener in &status.openers {
        let (openers, workers) = users.entry(opener.caller_uid).or_default();
        *openers += 1;
        *workers += u64::from(opener.workers);
    }
    let mut users: Vec<(u32, (u64, u64))> = users.into_iter().collect();
    users.sort_by_key(|(uid, load)| (std::cmp::Reverse(*load), *uid));
    users.truncate(USERS_MAX);
    page.head("user_openers", "gauge", "Openers of the users who have most.");
    for (uid, (openers, _)) in &users {
        page.value("user_openers", &[("uid", uid)], openers);
    }
    page.head("user_workers", "gauge", "Workers lent to the same users.");
    for (uid, (_, workers)) in &users {
        page.value("user_workers", &[("uid", uid)], workers);
    }
}

/// The text, as it grows. What is written to memory cannot fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP fdbroker_{name} {help}\n# TYPE fdbroker_{name} {kind}");
    }

    fn value(
        &mut self,
        name: &str,
        labels: &[(&str, &dyn fmt::Display)],
        value: impl fmt::Display,
    ) {
        let _ = write!(self.0, "fdbroker_{name}");
        for (nth, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if nth == 0 { "{" } else { "," });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.head(name, "gauge", help);
        self.value(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.head(name, "counter", help);
        self.value(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let mut count = 0_u64;
        let bounds = BOUNDS_MS.iter().map(|bound| seconds(bound.saturating_mul(1000)));
        for (bound, more) in bounds.chain(["+Inf".to_owned()]).zip(histogram.counts) {
            count = count.saturating_add(more);
            self.value(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        self.value(&format!("{name}_sum"), &[], seconds(histogram.sum_us));
        self.value(&format!("{name}_count"), &[], count);
    }
}

/// Microseconds as seconds, without needless zeros.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut histogram = Histogram::default();
        for milliseconds in [1, 3, 3, 5_000_000] {
            histogram.observe(std::time::Duration::from_millis(milliseconds));
        }
        let mut page = Page(String::new());
        page.histogram("x", "help", &histogram);
        for line in [
            "fdbroker_x_bucket{le=\"0.001\"} 1",
            "fdbroker_x_bucket{le=\"0.005\"} 3",
            "fdbroker_x_bucket{le=\"3600\"} 3",
            "fdbroker_x_bucket{le=\"+Inf\"} 4",
            "fdbroker_x_sum 5000.007",
            "fdbroker_x_count 4",
        ] {
            assert!(page.0.lines().any(|it| it == line), "{line}\n{}", page.0);
        }
    }

    #[test]
    fn a_broker_that_does_not_answer_has_one_metric() {
        let text = exposition(None);
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 1);
        assert!(text.ends_with("\nfdbroker_up 0\n"));
    }

    #[test]
    fn however_many_users_there_are_few_have_metrics_of_their_own() {
        let opener = |uid| fdbroker_common::admin_link::OpenerStatus {
            pid: 1,
            caller_uid: uid,
            busy: true,
            workers: u32::from(uid == 77),
            waiting: false,
        };
        let openers = (0..100).chain([99]).map(opener).collect();
        let text = exposition(Some(&Status { openers, ..Status::default() }));
        let users: Vec<&str> =
            text.lines().filter(|line| line.starts_with("fdbroker_user_openers{")).collect();
        assert_eq!(users.len(), USERS_MAX);
        assert_eq!(users[0], "fdbroker_user_openers{uid=\"99\"} 2");
        assert_eq!(users[1], "fdbroker_user_openers{uid=\"77\"} 1");
    }
}
