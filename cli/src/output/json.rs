//! One JSON object a line, for programs. `version` changes when a field changes its meaning.
//!
//! Pure. Names are not escaped for display here: text that is UTF-8 is itself, all else is base64.

use std::io::{self, Write};

use fdbroker_common::client::Report;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use serde::Serialize;

use super::Summary;
use super::text::Reason;

const VERSION: u32 = 1;

#[derive(Serialize)]
struct ReportObject<'a> {
    version: u32,
    path: PathObject<'a>,
    outcome: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    /// Absent when nobody knows, as of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PathObject<'a> {
    Text(&'a str),
    Bytes(String),
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    summary: SummaryObject<'a>,
}

#[derive(Serialize)]
struct SummaryObject<'a> {
    version: u32,
    files: u64,
    #[serde(flatten)]
    totals: Counts,
    seconds: f64,
    generation: Option<String>,
    rules: Option<u32>,
    exit_code: u8,
    /// Why the scan did not reach its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// How often each outcome was met.
#[derive(Debug, Serialize)]
pub struct Counts {
    clean: u64,
    matched: u64,
    incomplete: u64,
    unstable: u64,
    denied: u64,
    skipped: u64,
    errors: u64,
    bytes: u64,
}

impl From<&Totals> for Counts {
    fn from(totals: &Totals) -> Self {
        Self {
            clean: totals.clean,
            matched: totals.matched,
            incomplete: totals.incomplete,
            unstable: totals.unstable,
            denied: totals.denied,
            skipped: totals.skipped,
            errors: totals.errors,
            bytes: totals.bytes,
        }
    }
}

/// Writes the object of one file.
pub fn write_report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let outcome = &report.outcome;
    let (rules, reason) = match outcome {
        Outcome::Clean => (None, None),
        Outcome::Match { rules } => (Some(rules.as_slice()), None),
        other => (None, Some(Reason(other).to_string())),
    };
    let (read, total) = match outcome {
        Outcome::Incomplete { read, total, .. } => (Some(*read), Some(*total).filter(|n| *n > 0)),
        _ => (None, None),
    };
    let object = ReportObject {
        version: VERSION,
        path: path_object(report.path.as_os_str().as_encoded_bytes()),
        outcome: outcome.word(),
        size: report.size,
        rules,
        reason,
        read,
        total,
    };
    write_line(out, &object)
}

/// Writes the object that ends a scan.
pub fn write_summary(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let object = SummaryObject {
        version: VERSION,
        files: summary.totals.files(),
        totals: Counts::from(&summary.totals),
        seconds: summary.duration.as_secs_f64(),
        generation: summary.rules.map(|rules| rules.generation.to_string()),
        rules: summary.rules.map(|rules| rules.count),
        exit_code: summary.exit_code,
        error: summary.error.as_deref(),
    };
    write_line(out, &SummaryLine { summary: object })
}

/// Writes any object as a line.
///
/// # Errors
/// As write(2).
pub fn write_line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

pub(crate) fn path_object(bytes: &[u8]) -> PathObject<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => PathObject::Text(text),
        Err(_) => PathObject::Bytes(base64(bytes)),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for nth in 0..4 {
            let sextet = (bits >> (18 - 6 * nth)) & 63;
            let letter = ALPHABET.get(sextet as usize).copied().unwrap_or(b'=');
            text.push(char::from(if nth > group.len() { b'=' } else { letter }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use fdbroker_common::outcome::{Failure, Limit};

    use super::*;

    fn line(path: &[u8], outcome: Outcome) -> String {
        let report = Report { target: 0, path: OsStr::from_bytes(path).into(), size: 9, outcome };
        let mut line = Vec::new();
        write_report(&mut line, &report).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn names_are_text_or_bytes_and_always_on_one_line() {
        assert_eq!(
            line(b"a\n\"b", Outcome::Clean),
            "{\"version\":1,\"path\":{\"text\":\"a\\n\\\"b\"},\"outcome\":\"clean\",\"size\":9}\n"
        );
        assert!(line(b"\xff", Outcome::Clean).contains(r#""path":{"bytes":"/w=="}"#));
    }

    #[test]
    fn each_outcome_tells_what_belongs_to_it() {
        let rules = vec!["A".to_owned()];
        assert!(line(b"f", Outcome::Match { rules }).ends_with("\"rules\":[\"A\"]}\n"));
        let cut = Outcome::Incomplete { limit: Limit::FileSize, read: 0, total: 9 };
        assert!(
            line(b"f", cut).ends_with(
                "\"reason\":\"size limit, 0 of 9 bytes read\",\"read\":0,\"total\":9}\n"
            )
        );
        let error = line(b"f", Outcome::Error(Failure::TimedOut(3)));
        assert!(error.ends_with("\"reason\":\"not finished after 3 s\"}\n"));
    }
}
