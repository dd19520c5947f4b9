//! Compiles rule files with YARA-X.
//!
//! Runs in a confined template: it can open nothing, so even an `include` that slipped through would
//! find nothing. Compilation makes executable memory; it is the last thing that does.

use fdbroker_common::escape::Escaped;
use fdbroker_common::generation::GenerationId;
use fdbroker_common::limits::RULES_MAX;
use yara_x::errors::{CompileError, VariableError};
use yara_x::{Compiler, Rules, SourceCode};

use super::eicar;
use crate::generation;
use crate::sources::{Rejection, Source};

/// External variables that workers set from the name that travels with a job.
pub const NAME_VARIABLES: [&str; 3] = ["filename", "filepath", "extension"];

/// External variables that public rule sets expect and that are always empty here.
const EMPTY_VARIABLES: [&str; 2] = ["filetype", "owner"];

/// Rules of one generation.
pub struct Compiled {
    /// What the engine runs.
    pub rules: Rules,
    /// Names them.
    pub generation: GenerationId,
    /// Whether a rule could depend on the name of a file.
    pub wants_names: bool,
    /// How many warnings the compiler gave.
    pub warnings: usize,
}

/// Compiles the files, each in a namespace of its own, and the built-in rule before them.
///
/// # Errors
/// The first error in the first bad file.
pub fn compile(sources: &[Source]) -> Result<Compiled, Rejection> {
    let mut compiler = Compiler::new();
    compiler.enable_includes(false);
    define_variables(&mut compiler)
        .map_err(|error| Rejection::new(b"variables", None, &error.to_string()))?;
    compiler.new_namespace(eicar::NAMESPACE);
    let builtin = eicar::rule();
    compiler
        .add_source(builtin.as_str())
        .map_err(|error| reject(eicar::NAMESPACE.as_bytes(), builtin.as_bytes(), &error))?;
    let own_warnings = compiler.warnings().len();
    for source in sources {
        // Different names stay different when escaped, so namespaces never merge.
        let name = Escaped(&source.name).to_string();
        if name == eicar::NAMESPACE {
            let reason = "this name is taken by the built-in rules";
            return Err(Rejection::new(&source.name, None, reason));
        }
        compiler.new_namespace(&name);
        compiler
            .add_source(SourceCode::from(source.text.as_slice()).with_origin(&name))
            .map_err(|error| reject(&source.name, &source.text, &error))?;
    }
    let warnings = compiler.warnings().len() - own_warnings;
    // This panics, and so ends the process, where executable memory is refused.
    let rules = compiler.build();
    if rules.iter().count() > RULES_MAX {
        let reason = format!("more than {RULES_MAX} rules");
        return Err(Rejection::new(b"rules", None, &reason));
    }
    Ok(Compiled {
        rules,
        generation: generation::identify(sources),
        wants_names: sources.iter().any(|source| mentions_names(&source.text)),
        warnings,
    })
}

fn define_variables(compiler: &mut Compiler<'_>) -> Result<(), VariableError> {
    for variable in NAME_VARIABLES.iter().chain(&EMPTY_VARIABLES) {
        compiler.define_global(variable, "")?;
    }
    Ok(())
}

/// `FILE:LINE: title: what exactly`.
fn reject(name: &[u8], text: &[u8], error: &CompileError) -> Rejection {
    let mut reason = error.title().to_owned();
    let mut line = None;
    if let Some(label) = error.labels().next() {
        let before = text.get(..label.span().start()).unwrap_or(text);
        line = Some(1 + before.iter().filter(|byte| **byte == b'\n').count());
        if !label.text().is_empty() {
            reason.push_str(": ");
            reason.push_str(label.text());
        }
    }
    Rejection::new(name, line, &reason)
}

/// Whether a word of the text is a variable that depends on the name. Words in comments and strings
/// count as well; then names travel for nothing, which does no harm.
fn mentions_names(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .any(|word| NAME_VARIABLES.iter().any(|name| name.as_bytes() == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files
            .iter()
            .map(|(name, text)| Source {
                name: name.as_bytes().to_vec(),
                text: text.as_bytes().to_vec(),
            })
            .collect()
    }

    fn rejected(files: &[(&str, &str)]) -> String {
        match compile(&sources(files)) {
            Ok(_) => panic!("compiled"),
            Err(rejection) => rejection.as_str().to_owned(),
        }
    }

    #[test]
    fn an_error_names_file_and_line() {
        let bad = "rule ok { condition: true }\n\nrule bad { condition: nonsense }\n";
        let reason = rejected(&[("good.yar", "rule a { condition: true }"), ("b.yar", bad)]);
        assert!(reason.starts_with("b.yar:3: unknown identifier"), "{reason}");
        assert!(!reason.contains('\n'));
        let reason = rejected(&[("c.yar", "rule {\n")]);
        assert!(reason.starts_with("c.yar:1: syntax error"), "{reason}");
    }

    #[test]
    fn other_files_cannot_be_included() {
        let reason = rejected(&[("i.yar", "\ninclude \"/etc/hostname\"\n")]);
        assert!(reason.starts_with("i.yar:2: include"), "{reason}");
    }

    #[test]
    fn bytes_that_are_no_text_are_rejected_not_fatal() {
        let source = Source {
            name: b"x\xff.yar".to_vec(),
            text: b"rule a { condition: true }\n\xff\xfe".to_vec(),
        };
        let rejection = compile(&[source]).err().unwrap();
        assert!(rejection.as_str().starts_with("x\\xff.yar:2: "));
    }

    #[test]
    fn the_same_rule_may_stand_in_two_files() {
        let rule = "rule a { condition: true }";
        let compiled = compile(&sources(&[("1", rule), ("2", rule)])).ok().unwrap();
        let names: Vec<&str> = compiled.rules.iter().map(|rule| rule.identifier()).collect();
        assert_eq!(names, [eicar::RULE, "a", "a"]);
        assert!(rejected(&[("builtin", rule)]).contains("taken"));
    }

    #[test]
    fn names_travel_only_when_a_rule_uses_them() {
        let wants = |text| {
            let rule = format!("rule a {{ condition: {text} }}");
            compile(&sources(&[("a", &rule)])).ok().unwrap().wants_names
        };
        assert!(wants("filename == \"x\""));
        assert!(wants("extension matches /exe/"));
        assert!(!wants("filesize > 3 and owner == \"\""));
    }
}
