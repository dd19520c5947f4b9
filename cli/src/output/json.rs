//! One JSON object a line, for programs. `version` changes when a field changes its meaning.
//!
//! Pure. Names are not escaped for display here: text that is UTF-8 is itself, all else is base64.

use std::io::{self, Write};

use fdbroker_common::client::Report;
use fdbroker_common::details::{Details, MetaValue};
use fdbroker_common::escape::is_unseen;
use fdbroker_common::outcome::Outcome;
use fdbroker_common::totals::Totals;
use serde::Serialize;

use super::Summary;
use super::details::{Hex, Shows};
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
    #[serde(flatten)]
    details: DetailsObject<'a>,
}

/// Only what was asked for is there.
#[derive(Default, Serialize)]
struct DetailsObject<'a> {
    /// Null if the file was not read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Vec<FactsObject<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<MatchObject<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
}

#[derive(Serialize)]
struct FactsObject<'a> {
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Vec<MetadataObject<'a>>>,
    more: bool,
}

#[derive(Serialize)]
struct MetadataObject<'a> {
    key: &'a str,
    value: ValueObject<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueObject<'a> {
    Integer(i64),
    /// Null if JSON has no such number.
    Float(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(PathObject<'a>),
}

#[derive(Serialize)]
struct MatchObject<'a> {
    rule: &'a str,
    pattern: &'a str,
    offset: u64,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathObject<'a>>,
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
pub fn write_report(out: &mut impl Write, report: &Report, shows: Shows) -> io::Result<()> {
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
        details: details_object(report, shows),
    };
    write_line(out, &object)
}

fn details_object(report: &Report, shows: Shows) -> DetailsObject<'_> {
    let nothing = DetailsObject { sha256: shows.hash.then_some(None), ..Default::default() };
    let Some(details) = &report.details else {
        return nothing;
    };
    let sha256 = shows.hash.then(|| details.sha256.map(|hash| Hex(&hash).to_string()));
    let Outcome::Match { rules } = &report.outcome else {
        return DetailsObject { sha256, ..nothing };
    };
    let facts = (shows.tags || shows.metadata).then(|| facts_of(rules, details, shows));
    let matches = shows.strings.then(|| matches_of(rules, details));
    DetailsObject { sha256, facts, matches, more: details.cut.then_some(true) }
}

fn facts_of<'a>(rules: &'a [String], details: &'a Details, shows: Shows) -> Vec<FactsObject<'a>> {
    let value = |value: &'a MetaValue| match value {
        MetaValue::Integer(number) => ValueObject::Integer(*number),
        MetaValue::Float(bits) => ValueObject::Float(f64::from_bits(*bits)),
        MetaValue::Boolean(holds) => ValueObject::Boolean(*holds),
        MetaValue::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => ValueObject::Text(text),
            Err(_) => ValueObject::Bytes(path_object(text)),
        },
    };
    let pairs = rules.iter().zip(&details.rules);
    let object = |(rule, facts): (&'a String, &'a fdbroker_common::details::RuleFacts)| {
        let metadata =
            facts.metadata.iter().map(|(key, it)| MetadataObject { key, value: value(it) });
        FactsObject {
            rule,
            tags: shows.tags.then_some(&facts.tags),
            metadata: shows.metadata.then(|| metadata.collect()),
            more: facts.cut,
        }
    };
    pairs.map(object).collect()
}

fn matches_of<'a>(rules: &'a [String], details: &'a Details) -> Vec<MatchObject<'a>> {
    let object = |found: &'a fdbroker_common::details::PatternMatch| {
        Some(MatchObject {
            rule: rules.get(usize::try_from(found.rule).ok()?)?,
            pattern: &found.pattern,
            offset: found.offset,
            length: found.length,
            data: found.data.as_ref().map(|data| path_object(data)),
        })
    };
    details.matches.iter().filter_map(object).collect()
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

/// Writes any object as a line. What a terminal would act on is escaped; the values stay the same.
///
/// # Errors
/// As write(2).
pub fn write_line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(object)?;
    // All that is not ASCII stands within strings.
    if line.contains(is_unseen) {
        let mut escaped = String::with_capacity(line.len());
        for character in line.chars() {
            match character {
                c if is_unseen(c) => {
                    let mut units = [0; 2];
                    let units = c.encode_utf16(&mut units).iter();
                    escaped.extend(units.map(|unit| format!("\\u{unit:04x}")));
                }
                c => escaped.push(c),
            }
        }
        line = escaped;
    }
    line.push('\n');
    out.write_all(line.as_bytes())
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
        let report = Report {
            target: 0,
            path: OsStr::from_bytes(path).into(),
            size: 9,
            outcome,
            details: None,
        };
        let mut line = Vec::new();
        write_report(&mut line, &report, Shows::default()).unwrap();
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
    fn details_are_there_if_they_were_asked_for() {
        let all = Shows { hash: true, strings: true, tags: true, metadata: true };
        let written = |report: &Report, shows| {
            let mut line = Vec::new();
            write_report(&mut line, report, shows).unwrap();
            serde_json::from_slice::<serde_json::Value>(&line).unwrap()
        };
        let mut report = super::super::details::tests::report();
        let object = written(&report, all);
        assert_eq!(object["sha256"], "ab".repeat(32));
        assert_eq!(object["more"], true);
        let facts = &object["facts"][0];
        assert_eq!((&facts["rule"], &facts["tags"][1]), (&"A".into(), &"two".into()));
        assert_eq!(facts["metadata"][0]["value"]["bytes"], base64(b"a\n\"b\xff"));
        assert_eq!(facts["metadata"][1], serde_json::json!({ "key": "score", "value": -5 }));
        assert_eq!(facts["metadata"][2]["value"], 0.5);
        let found = &object["matches"];
        assert_eq!(found[0]["data"]["bytes"], base64(b"a\x1b\xff"));
        assert_eq!(
            found[1],
            serde_json::json!({ "rule": "A", "pattern": "$a", "offset": 32, "length": 900, "data": { "text": "abc" } })
        );
        assert_eq!(found[2]["rule"], "B");
        assert_eq!(found[2].get("data"), None);
        report.details = None;
        report.outcome = Outcome::Denied;
        let object = written(&report, all);
        assert!(object["sha256"].is_null() && object.get("sha256").is_some());
        assert_eq!(object.get("facts"), None);
        assert_eq!(written(&report, Shows::default()).get("sha256"), None);
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
