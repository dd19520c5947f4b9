//! YARA-X as an [`Engine`].
//!
//! Made in a template before it is sealed, used in workers. It scans memory only and sets no timeout:
//! the engine's own needs a thread, and does not cover file format parsers. The deadline is outside.
//! Its limit on matches per pattern stays as its authors set it, because a lower one, like its fast
//! mode, could change what a condition on counts or places comes to.

use std::collections::HashMap;

use fdbroker_common::limits::RULES_PER_FILE_MAX;
use yara_x::{Rules, Scanner};

use super::compile::NAME_VARIABLES;
use super::places::Places;
use super::{Engine, Verdict};

/// Namespace and name of a rule.
type Key = (&'static str, &'static str);

/// A scanner that is reused for every file.
pub struct Yara {
    scanner: Scanner<'static>,
    numbers: HashMap<Key, u32>,
    wants_names: bool,
    named: bool,
}

impl Yara {
    /// Takes the rules for the rest of the process's life.
    #[must_use]
    pub fn new(rules: &'static Rules, wants_names: bool) -> Self {
        let numbers = (0..)
            .zip(rules.iter())
            .map(|(number, rule)| ((rule.namespace(), rule.identifier()), number))
            .collect();
        Self { scanner: Scanner::new(rules), numbers, wants_names, named: false }
    }

    /// Sets the variables that depend on the name, or takes those of the last file back.
    fn set_names(&mut self, name: Option<&[u8]>) -> Result<(), yara_x::errors::VariableError> {
        if !self.wants_names || (name.is_none() && !self.named) {
            return Ok(());
        }
        let values = Names::of(name.unwrap_or_default());
        let values = [values.file, values.path, values.extension];
        for (variable, value) in NAME_VARIABLES.iter().zip(values) {
            self.scanner.set_global(variable, value)?;
        }
        self.named = name.is_some();
        Ok(())
    }

    /// Judges, and notes places if they are wanted.
    fn judge(&mut self, data: &[u8], name: Option<&[u8]>, places: Option<&mut Places>) -> Verdict {
        if self.set_names(name).is_err() {
            return Verdict::Failed;
        }
        let Ok(results) = self.scanner.scan(data) else {
            return Verdict::Failed;
        };
        let number = |namespace, name| self.numbers.get(&(namespace, name)).copied();
        let matching = results.matching_rules();
        if matching.len() == 0 {
            return Verdict::Clean;
        }
        let numbers: Option<Vec<u32>> =
            matching.map(|rule| number(rule.namespace(), rule.identifier())).collect();
        let Some(mut numbers) = numbers else {
            return Verdict::Failed;
        };
        numbers.sort_unstable();
        numbers.dedup();
        numbers.truncate(RULES_PER_FILE_MAX);
        if let Some(places) = places {
            let told = results.matching_rules().filter_map(|rule| {
                let number = number(rule.namespace(), rule.identifier())?;
                numbers.binary_search(&number).is_ok().then_some((number, rule))
            });
            *places = Places::of(told);
        }
        Verdict::Match(numbers)
    }
}

impl Engine for Yara {
    fn scan(&mut self, data: &[u8], name: Option<&[u8]>) -> Verdict {
        self.judge(data, name, None)
    }

    fn examine(&mut self, data: &[u8], name: Option<&[u8]>) -> (Verdict, Places) {
        let mut places = Places::default();
        (self.judge(data, name, Some(&mut places)), places)
    }
}

/// What rules may know of a name: the last component, all of it, and the extension with its dot in
/// lower case (none for `.profile`). Bytes that are no UTF-8 become U+FFFD.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    file: String,
    path: String,
    extension: String,
}

impl Names {
    fn of(name: &[u8]) -> Self {
        let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let extension = match file.iter().rposition(|byte| *byte == b'.') {
            Some(dot) if dot > 0 => file.get(dot..).unwrap_or_default(),
            _ => &[],
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { file: text(file), path: text(name), extension: text(extension).to_ascii_lowercase() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::compile::compile;
    use crate::engine::eicar;
    use crate::sources::Source;

    fn engine(text: &str) -> Yara {
        let source = Source { name: b"test.yar".to_vec(), text: text.as_bytes().to_vec() };
        let compiled = compile(&[source]).ok().unwrap();
        Yara::new(Box::leak(Box::new(compiled.rules)), compiled.wants_names)
    }

    #[test]
    fn the_test_file_is_found_where_it_is_defined_only() {
        let mut yara = engine("");
        eicar::self_test(&mut yara).unwrap();
        let found = Verdict::Match(vec![eicar::NUMBER]);
        let mut file = eicar::test_file();
        file.push(b'\n');
        assert_eq!(yara.scan(&file, None), found);
        file.resize(129, b' ');
        assert_eq!(yara.scan(&file, None), Verdict::Clean);
        let inside = [b" ".as_slice(), &eicar::test_file()].concat();
        assert_eq!(yara.scan(&inside, None), Verdict::Clean);
        assert_eq!(yara.scan(b"", None), Verdict::Clean);
    }

    #[test]
    fn private_rules_are_not_reported_and_numbers_ascend() {
        let mut yara = engine(
            "private rule p { condition: true } rule b { condition: p } rule a { condition: p }",
        );
        assert_eq!(yara.scan(b"x", None), Verdict::Match(vec![2, 3]));
    }

    #[test]
    fn a_name_holds_for_one_file_only() {
        let mut yara =
            engine("rule n { condition: filename == \"x.EXE\" and extension == \".exe\" }");
        let found = Verdict::Match(vec![1]);
        assert_eq!(yara.scan(b"", Some(b"/a/x.EXE")), found);
        assert_eq!(yara.scan(b"", None), Verdict::Clean);
        assert_eq!(yara.scan(b"", Some(b"/a/y.EXE")), Verdict::Clean);
    }

    #[test]
    fn names_are_cut_like_other_scanners_do() {
        let all = |name: &[u8]| {
            let names = Names::of(name);
            (names.file, names.path, names.extension)
        };
        let texts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(all(b"/d.d/a.tar.GZ"), texts("a.tar.GZ", "/d.d/a.tar.GZ", ".gz"));
        assert_eq!(all(b"/d.d/.profile"), texts(".profile", "/d.d/.profile", ""));
        assert_eq!(all(b"x\xff"), texts("x\u{fffd}", "x\u{fffd}", ""));
    }

    #[test]
    fn many_matches_do_not_hide_the_one_that_counts() {
        let mut yara = engine(
            "rule last { strings: $a = \"aXa\" condition: $a in (filesize - 3 .. filesize) } \
             rule count { strings: $a = \"aXa\" condition: #a == 5000 }",
        );
        assert_eq!(yara.scan(&b"aXa".repeat(5000), None), Verdict::Match(vec![1, 2]));
    }
}
