//! A strict reader of the text exposition format of Prometheus.

use std::collections::BTreeMap;

/// Labels of a sample, in their order.
pub type Labels = Vec<(String, String)>;

/// One metric with its samples.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    /// Name, labels and value.
    pub samples: Vec<(String, Labels, f64)>,
}

fn is_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(first)
        && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
}

/// All families by name. Fails on everything that a strict reader would refuse.
#[track_caller]
pub fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families = BTreeMap::<String, Family>::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').expect(line);
        assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
        let line = lines.next().expect("a type follows");
        let (same, kind) = line.strip_prefix("# TYPE ").unwrap().split_once(' ').expect(line);
        assert_eq!(same, name);
        assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let sample = sample(line);
            let of_this = match kind {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| sample.0.strip_suffix(end) == Some(name)),
                _ => sample.0 == name,
            };
            assert!(of_this, "{line} among samples of {name}");
            let is_other = |(other, labels, _): &(String, Labels, f64)| {
                (other, labels) != (&sample.0, &sample.1)
            };
            assert!(samples.iter().all(is_other), "twice: {line}");
            samples.push(sample);
        }
        let family = Family { kind: kind.to_owned(), samples };
        if kind == "histogram" {
            check_histogram(name, &family);
        }
        assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
    }
    families
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (head, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = match head.split_once('{') {
        None => (head, Vec::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect(line))),
    };
    assert!(is_name(name), "{line}");
    let value: f64 = value.parse().expect(line);
    assert!(value.is_finite() && value >= 0.0, "{line}");
    (name.to_owned(), labels, value)
}

fn labels(text: &str) -> Labels {
    let pair = |pair: &str| {
        let (label, value) = pair.split_once('=').expect(text);
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.expect(text);
        assert!(is_name(label) && !value.contains(['"', '\\', '\n', ',', '/']), "{text}");
        (label.to_owned(), value.to_owned())
    };
    text.split(',').map(pair).collect()
}

fn check_histogram(name: &str, family: &Family) {
    let of = |end: &str| {
        let name = format!("{name}{end}");
        family.samples.iter().filter(move |sample| sample.0 == name).collect::<Vec<_>>()
    };
    let buckets = of("_bucket");
    let bound = |labels: &Labels| match labels.as_slice() {
        [(label, bound)] if label == "le" => bound.replace("+Inf", "inf").parse::<f64>().unwrap(),
        other => panic!("{name}: {other:?}"),
    };
    assert!(buckets.is_sorted_by(|a, b| bound(&a.1) < bound(&b.1) && a.2 <= b.2), "{name}");
    let (last, count) = (buckets.last().unwrap(), of("_count"));
    assert_eq!(bound(&last.1), f64::INFINITY);
    assert_eq!((count.len(), of("_sum").len()), (1, 1));
    assert_eq!(last.2, count[0].2, "{name}");
}
