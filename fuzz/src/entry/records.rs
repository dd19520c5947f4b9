//! Notes of an opener on their way to records: whatever they say, a record is one line of its own fields.

use fdbroker_broker::auditor::format::{datagram, line};
use fdbroker_broker::auditor::plan::AuditFormat;
use fdbroker_broker::auditor::record::{Record, Value};
use fdbroker_broker::record_link::{Note, Object, OpenerToAuditor};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::wire::decode;

/// A message of an opener, or else a name, and the records that come of it.
pub fn records(data: &[u8]) {
    let notes = match decode::<OpenerToAuditor>(data) {
        Ok(OpenerToAuditor::Notes(notes)) => notes,
        Err(_) => {
            let object = Object::named(data.to_vec(), None, 0);
            vec![Note::File { object, outcome: Outcome::Denied, unnamed: 0 }]
        }
    };
    for note in notes {
        let begin = Record::of("file").with("uid", 2000_u32);
        match note {
            Note::Target(object, kind) => judge(&begin.object(&object).with("kind", kind.word())),
            Note::File { object, outcome, unnamed } => {
                judge(&begin.object(&object).outcome(&outcome, unnamed));
            }
            Note::Begin { .. } | Note::End { .. } => {}
        }
    }
}

fn judge(record: &Record) {
    for format in [AuditFormat::Text, AuditFormat::Json] {
        let line = line(record, format);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        // Outside of strings there is nothing but what is ours, once for each field.
        let outside = outside_of_strings(&line);
        let marks = outside.matches(if format == AuditFormat::Text { '=' } else { ':' }).count();
        assert_eq!(marks, record.fields().len(), "{line:?}");
    }
    let datagram = datagram(record, AuditFormat::Json);
    let told = record.fields().iter().filter(|(_, value)| *value != Value::Null).count();
    assert_eq!(datagram.lines().count(), 4 + told, "{datagram:?}");
}

/// A line without its strings, names of JSON members among them.
fn outside_of_strings(line: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut outside = String::new();
    for character in line.chars() {
        let quote = character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
        quoted ^= quote;
        if !quoted && !quote {
            outside.push(character);
        }
    }
    assert!(!quoted, "a string has no end: {line:?}");
    outside
}
