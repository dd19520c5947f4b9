//! Records as text, as JSON and for the journal. Pure.
//!
//! Whatever bytes a value has, it forges nothing: strings are escaped as everywhere ([`Escaped`]), then
//! quoted, so that no value ends before its quote, spans lines or passes for another field.

use std::fmt::{self, Display, Write};

use fdbroker_common::escape::Escaped;

use super::record::{Record, Value};
use crate::auditor::plan::AuditFormat as Format;

/// Names the records of fdbroker in the journal: `journalctl MESSAGE_ID=…`.
const MESSAGE_ID: &str = "9a2d6a0c8f5b4c1e9d3c7be1f0a45d27";

/// A record as one line, without its end.
#[must_use]
pub fn line(record: &Record, format: Format) -> String {
    let mut line = String::new();
    let (begin, separator, end) = match format {
        Format::Text => ("", ' ', ""),
        Format::Json => ("{", ',', "}"),
    };
    line.push_str(begin);
    for (nth, (name, value)) in record.fields().iter().enumerate() {
        if nth > 0 {
            line.push(separator);
        }
        // Writing to a string does not fail.
        let _ = match format {
            Format::Text => write!(line, "{name}={}", Shown(value, format)),
            Format::Json => write!(line, "\"{name}\":{}", Shown(value, format)),
        };
    }
    line.push_str(end);
    line
}

/// A record as a datagram of the journal's own protocol. No value has a line break, so each field is a line.
#[must_use]
pub fn datagram(record: &Record, format: Format) -> String {
    let priority = if record.warns { 4 } else { 6 };
    let mut text = format!("MESSAGE={}\nPRIORITY={priority}\n", line(record, format));
    let _ = write!(text, "SYSLOG_IDENTIFIER=fdbroker-audit\nMESSAGE_ID={MESSAGE_ID}\n");
    for (name, value) in record.fields() {
        let name = name.to_ascii_uppercase().replace('.', "_");
        let _ = match value {
            Value::Null => Ok(()),
            Value::Name(bytes) => writeln!(text, "FDBROKER_{name}={}", Escaped(bytes)),
            value => writeln!(text, "FDBROKER_{name}={}", Shown(value, Format::Text)),
        };
    }
    text
}

/// A value as it stands in a line.
struct Shown<'a>(&'a Value, Format);

impl Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => out.write_str("null"),
            Value::Flag(flag) => write!(out, "{flag}"),
            Value::Number(number) => write!(out, "{number}"),
            Value::Name(bytes) => quoted(out, bytes, self.1),
            Value::Names(names) => {
                out.write_char('[')?;
                for (nth, name) in names.iter().enumerate() {
                    if nth > 0 {
                        out.write_char(',')?;
                    }
                    quoted(out, name, self.1)?;
                }
                out.write_char(']')
            }
        }
    }
}

fn quoted(out: &mut fmt::Formatter<'_>, bytes: &[u8], format: Format) -> fmt::Result {
    out.write_char('"')?;
    for character in Escaped(bytes).to_string().chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            // In text it begins an escape of ours; in JSON it is a character, and says so.
            '\\' if format == Format::Json => out.write_str("\\\\")?,
            other => out.write_char(other)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that try to be more than a value.
    const HOSTILE: &[&[u8]] = &[
        b"a\nseq=1 event=connection uid=0",
        b"a\" outcome=\"clean",
        b"a\\\" outcome=\"clean",
        b"a\\",
        b"\",\"uid\":0,\"x\":\"",
        b"\xff\xfe\x00\x1b[2K\r\x7f",
        b"x\xe2\x80\xaegpj.exe",
        b"a\xe2\x80\xa8b\xc2\x85c",
        b"\nFDBROKER_UID=0\nMESSAGE=forged",
        b"",
    ];

    fn record(name: &[u8]) -> Record {
        let names = Value::Names(vec![name.to_vec(), b"second".to_vec()]);
        Record::of("file").with("path", Value::Name(name.to_vec())).with("rules", names)
    }

    /// What a reader of text makes of a line: fields by the rules of the page, without looking further.
    fn read_text(line: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut rest = line;
        while let Some((name, value)) = rest.split_once('=') {
            let mut quoted = false;
            let mut escaped = false;
            let ends = |(_, character): &(usize, char)| {
                let end = !quoted && *character == ' ';
                quoted ^= *character == '"' && !escaped;
                escaped = *character == '\\' && !escaped;
                end
            };
            let end = value.char_indices().find(ends).map_or(value.len(), |(at, _)| at);
            fields.push((name.to_owned(), value[..end].to_owned()));
            rest = value[end..].trim_start_matches(' ');
        }
        assert_eq!(rest, "");
        fields
    }

    #[test]
    fn no_name_forges_a_line_or_a_field_of_text() {
        for name in HOSTILE {
            let line = line(&record(name), Format::Text);
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains(['\u{202e}', '\u{2028}']), "{line:?}");
            let fields = read_text(&line);
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["event", "path", "rules"], "{line}");
        }
    }

    #[test]
    fn no_name_forges_anything_in_json_and_each_can_be_read_back() {
        for name in HOSTILE {
            let line = line(&record(name), Format::Json);
            assert!(!line.chars().any(char::is_control), "{line:?}");
            let expected = Escaped(name).to_string().replace('\\', "\\\\").replace('"', "\\\"");
            let rules = format!("[\"{expected}\",\"second\"]");
            let whole = format!("{{\"event\":\"file\",\"path\":\"{expected}\",\"rules\":{rules}}}");
            assert_eq!(line, whole);
        }
    }

    #[test]
    fn no_name_forges_a_field_of_the_journal() {
        for name in HOSTILE {
            let text = datagram(&record(name), Format::Text);
            let names: Vec<&str> =
                text.lines().map(|line| line.split_once('=').expect("a field").0).collect();
            let own = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE_ID"];
            let ours = ["FDBROKER_EVENT", "FDBROKER_PATH", "FDBROKER_RULES"];
            assert_eq!(names, [&own[..], &ours[..]].concat(), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_null_and_left_out_of_the_journal() {
        let record = Record::of("file").with("exe", Value::Null).with("ok", Value::Flag(true));
        assert_eq!(line(&record, Format::Text), "event=\"file\" exe=null ok=true");
        assert_eq!(line(&record, Format::Json), r#"{"event":"file","exe":null,"ok":true}"#);
        assert!(!datagram(&record, Format::Text).contains("FDBROKER_EXE"));
    }
}
