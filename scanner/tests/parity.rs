//! What `fdscan` tells of real files is what the engine says of them when it is called in process.
//!
//! Between the two lie a client, an opener, descriptors, a sealed worker that is used for file after
//! file, rule numbers and a table of names; none of that may change a verdict.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fdbroker_tests::{Caller, Env, skip};
use serde_json::Value;
use yara_x::{Compiler, Rules, Scanner, SourceCode};

/// Where the files come from, and how many from each at most.
const SOURCES: [(&str, usize); 6] = [
    ("/usr/bin", 300),
    ("/usr/lib", 600),
    ("/usr/share/doc", 300),
    ("/usr/share", 300),
    ("/usr/include", 100),
    ("/etc", 200),
];
const FILES_MIN: usize = 1000;
/// Larger files only cost time; whether they are read to the end is another test's matter.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const RULES_MIN: usize = 20;

/// Names of the rules that match, in order, by path.
type Matches = BTreeMap<Vec<u8>, Vec<String>>;

fn rule_files() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity-rules");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, String)> = entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Regular files below a directory that can be read, in an order that does not change.
fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        match path.symlink_metadata() {
            Ok(about) if about.is_dir() => walk(&path, found),
            Ok(about) if about.is_file() && about.len() <= FILE_BYTES_MAX => {
                found.extend(fs::File::open(&path).is_ok().then_some(path));
            }
            _ => {}
        }
    }
}

/// Some files of each source, evenly spread over all that it has.
fn sample() -> Vec<PathBuf> {
    let mut chosen = BTreeSet::new();
    for (directory, wanted) in SOURCES {
        let mut all = Vec::new();
        walk(Path::new(directory), &mut all);
        let step = all.len().div_ceil(wanted).max(1);
        chosen.extend(all.into_iter().step_by(step));
    }
    chosen.into_iter().collect()
}

/// The same rules as the scanner compiles them: each file in a namespace of its own.
fn compile(files: &[(String, String)]) -> Rules {
    let mut compiler = Compiler::new();
    compiler.enable_includes(false);
    for variable in ["filename", "filepath", "extension", "filetype", "owner"] {
        compiler.define_global(variable, "").unwrap();
    }
    for (name, text) in files {
        compiler.new_namespace(name);
        compiler.add_source(SourceCode::from(text.as_str()).with_origin(name)).unwrap();
    }
    compiler.build()
}

/// What the engine says, with a scanner of its own for each file, so that nothing is left of others.
fn in_process(rules: &Rules, paths: &[PathBuf]) -> Matches {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let of = |path: &PathBuf| {
        let mut scanner = Scanner::new(rules);
        let extension = path.extension().map(|_| format!(".{}", text(path.extension())));
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        scanner.set_global("filename", text(path.file_name())).unwrap();
        scanner.set_global("filepath", path.to_string_lossy().into_owned()).unwrap();
        scanner.set_global("extension", extension).unwrap();
        let contents = fs::read(path).unwrap();
        let results = scanner.scan(&contents).unwrap();
        let mut names: Vec<String> =
            results.matching_rules().map(|rule| rule.identifier().to_owned()).collect();
        names.sort();
        (path.as_os_str().as_bytes().to_vec(), names)
    };
    paths.iter().map(of).collect()
}

/// What `fdscan` says. Every file must have a verdict.
fn by_broker(env: &Env, caller: &Caller, paths: &[PathBuf]) -> Matches {
    let mut list = Vec::new();
    for path in paths {
        list.write_all(path.as_os_str().as_bytes()).unwrap();
        list.push(0);
    }
    let list = env.file("list", &list);
    let fdscan = env.fdscan_program(caller).args(["--json", "--no-summary", "-0", "--files-from"]);
    let output = fdscan.arg(list).output();
    assert_eq!((output.code, output.errors()), (Some(1), String::new()));
    let mut matches = Matches::new();
    for line in output.text().lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let path =
            object["path"]["text"].as_str().expect("paths that are text").as_bytes().to_vec();
        let names = match object["outcome"].as_str() {
            Some("clean") => Vec::new(),
            Some("match") => {
                let names = object["rules"].as_array().unwrap().iter();
                let names = names.map(|name| name.as_str().unwrap().to_owned());
                // The rule that every generation has and the engine does not know here.
                let mut names: Vec<String> =
                    names.filter(|name| name != "EICAR_Test_File").collect();
                names.sort();
                names
            }
            _ => panic!("no verdict: {line}"),
        };
        assert!(matches.insert(path, names).is_none(), "told twice: {line}");
    }
    matches
}

fn start(files: &[(String, String)]) -> (Env, Caller) {
    let build = files.iter().fold(Env::build(), |build, (name, text)| build.rule(name, text));
    let caller = Caller::own();
    let env =
        if skip::is_root() { build.start_spawned() } else { build.start_rootless(caller.uid) };
    (env, caller)
}

#[test]
fn verdicts_are_those_of_the_engine() {
    let mut paths = sample();
    paths.retain(|path| path.to_str().is_some());
    if paths.len() < FILES_MIN {
        fdbroker_tests::skip!("only {} files here, {FILES_MIN} are needed", paths.len());
    }
    let files = rule_files();
    let rules = compile(&files);
    let (env, caller) = start(&files);

    let found = by_broker(&env, &caller, &paths);
    let expected = in_process(&rules, &paths);

    assert_eq!(found.len(), paths.len());
    for (path, names) in &expected {
        assert_eq!(found.get(path), Some(names), "{}", String::from_utf8_lossy(path));
    }
    assert_eq!(found, expected);
    check_worth(&rules, &expected);
    env.stop();
}

/// Rules that match nothing, or files that all match the same, would prove little.
fn check_worth(rules: &Rules, matches: &Matches) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in matches.values().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    let visible = rules.iter().count();
    let some = counts.values().filter(|count| **count < matches.len()).count();
    println!(
        "{} files, {visible} rules, {} of them match: {counts:?}",
        matches.len(),
        counts.len()
    );
    assert!(visible >= RULES_MIN);
    assert!(some >= RULES_MIN, "{counts:?}");
    assert_eq!(counts.get("Cond_Always"), Some(&matches.len()));
    for never in ["Cond_Never", "Name_Unknown", "Hidden_Small", "Global_Hidden"] {
        assert_eq!(counts.get(never), None, "{never}");
    }
}
