//! Manual pages and completions: they are what the generator writes now, they are without mistakes,
//! and they name each option and each key that the programs have. Needs no privilege.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fdbroker_broker::configuration::document::{self, Findings};
use fdbroker_broker::configuration::schema::SECTIONS;
use fdbroker_broker::configuration::source::Source;
use fdbroker_tests::program::executable;
use fdbroker_tests::require_tool;

/// The programs and the sections of their pages.
const PROGRAMS: [(&str, u8); 4] =
    [("fdbroker", 8), ("fdbrokerctl", 1), ("fdscan", 1), ("fdscand", 8)];

/// Pages that no program writes.
const BY_HAND: [&str; 1] = ["fdbroker-protocol.7"];

/// The page of the configuration, which comes from the broker's table of keys.
const CONFIGURATION: &str = "fdbroker.toml.5";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

/// An empty directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("mkdir");
    path
}

/// Names and contents.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("text"))
    };
    entries.map(read).collect()
}

fn pages() -> Vec<PathBuf> {
    let directory = repository().join("man");
    let pages: Vec<PathBuf> =
        files(&directory).into_keys().map(|name| directory.join(name)).collect();
    assert_eq!(pages.len(), PROGRAMS.len() + 1 + BY_HAND.len(), "{pages:?}");
    pages
}

/// A page as it is read, without roff's escapes of `-`.
fn page(name: &str) -> String {
    let text = fs::read_to_string(repository().join("man").join(name)).expect(name);
    text.replace("\\-", "-")
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The long options in a text, with their dashes.
fn long_options(text: &str) -> BTreeSet<String> {
    let is_other = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    let words = text.split(is_other).filter(|word| word.starts_with("--") && word.len() > 2);
    words.map(str::to_owned).collect()
}

#[test]
fn pages_and_completions_are_what_the_options_say_now() {
    let fresh = scratch("fresh-pages");
    let output = run(Command::new(env!("CARGO_BIN_EXE_pages-of-programs")).arg(&fresh));
    assert!(output.status.success(), "{output:?}");
    let mut pages = files(&repository().join("man"));
    pages.retain(|name, _| !BY_HAND.contains(&name.as_str()));
    for (now, then) in [
        (files(&fresh.join("man")), pages),
        (files(&fresh.join("completions")), files(&repository().join("completions"))),
        (files(&fresh.join("etc")), files(&repository().join("etc"))),
    ] {
        assert!(now.keys().eq(then.keys()), "other files are written now: {:?}", now.keys());
        for (name, now) in &now {
            assert!(then.get(name) == Some(now), "{name} is out of date: run `make man`");
        }
    }
    fs::remove_dir_all(fresh).expect("rmdir");
}

#[test]
fn each_option_of_help_is_in_page_and_completions() {
    for (program, section) in PROGRAMS {
        let help = text(&run(Command::new(executable(program)).arg("--help")).stdout);
        // As heads of entries; other text may name those of other programs.
        let is_head = |line: &&str| line.starts_with("  -") || line.starts_with("      --");
        let options = long_options(&help.lines().filter(is_head).collect::<Vec<_>>().join("\n"));
        assert!(options.len() > 3, "{program} --help: {help}");
        let page = page(&format!("{program}.{section}"));
        let heads: String = page.lines().filter(|line| line.starts_with("\\fB-")).collect();
        let heads = long_options(&heads.replace("\\fB", " ").replace("\\fR", " "));
        assert_eq!(options, heads, "{program}.{section}");
        for file in [format!("{program}.bash"), format!("_{program}"), format!("{program}.fish")] {
            let completions = fs::read_to_string(repository().join("completions").join(&file));
            let completions = completions.expect(&file);
            for option in &options {
                let bare = option.trim_start_matches('-');
                let is_there = completions.contains(option.as_str())
                    || completions.contains(&format!("-l {bare} "));
                assert!(is_there, "{file}: {option} is missing");
            }
        }
    }
}

#[test]
fn each_key_of_the_configuration_is_in_its_page() {
    let known: BTreeSet<&str> =
        SECTIONS.iter().flat_map(|section| section.keys).map(|key| key.name).collect();
    let page = page(CONFIGURATION);
    let (_, keys) = page.split_once(".SH KEYS\n").expect("the keys");
    let (keys, _) = keys.split_once(".SH ").expect("more sections");
    let described: BTreeSet<&str> = keys
        .lines()
        .filter_map(|line| line.strip_prefix(".BR ")?.split_once(" \""))
        .map(|(key, _)| key)
        .collect();
    assert!(known.len() > 15 && known.contains("scanner_user"), "{known:?}");
    assert_eq!(known, described);
}

#[test]
fn the_example_names_each_key_and_can_be_used_when_it_is_no_longer_commented_out() {
    let path = repository().join("etc/fdbroker.toml");
    let example = fs::read_to_string(&path).expect("the example");
    // As it comes it changes nothing.
    assert!(example.lines().all(|line| line.is_empty() || line.starts_with('#')));
    let used: String = example
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut findings = Findings::default();
    let document = document::read(&[Source::new(&path, used)], &mut findings);
    assert!(findings.problems.is_empty() && findings.notes.is_empty(), "{findings:#?}");
    for section in SECTIONS {
        let tables = document.repeated(section.name).iter().chain(document.single(section.name));
        let tables: Vec<_> = tables.collect();
        assert_eq!(tables.len(), 1, "{}", section.head());
        for key in section.keys {
            let place = tables[0].place(key.name).expect(key.name);
            assert_ne!(Some(place), tables[0].place.as_ref(), "{}", key.name);
        }
    }
}

#[test]
fn each_page_is_of_this_version() {
    let version = concat!("\"fdbroker ", env!("CARGO_PKG_VERSION"), "\"");
    for page in pages() {
        let text = fs::read_to_string(&page).expect("text");
        let title = text.lines().find(|line| line.starts_with(".TH ")).unwrap_or_default();
        assert!(title.contains(version), "{}: {title}", page.display());
    }
}

#[test]
fn man_has_nothing_to_complain_about() {
    require_tool!("man");
    require_tool!("groff");
    for page in pages() {
        let mut man = Command::new("man");
        man.args(["--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&page);
        man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").env("MANROFFSEQ", "");
        let output = run(&mut man);
        let complaints = text(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "{}: {complaints}",
            page.display()
        );
        assert!(output.stdout.len() > 1000, "{}: not a page", page.display());
    }
}

#[test]
fn mandoc_has_nothing_to_complain_about() {
    require_tool!("mandoc");
    for page in pages() {
        let output = run(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(&page));
        let complaints = text(&output.stdout) + &text(&output.stderr);
        // The pages have no date, so that they are the same on each day.
        let others: Vec<&str> =
            complaints.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

#[test]
fn bash_completes_options_and_verbs() {
    require_tool!("bash");
    for (program, words, expected) in [
        ("fdscan", "--inf", "--infected"),
        ("fdbrokerctl", "self", "self-test"),
        ("fdbroker", "--spawn", "--spawn-scanner"),
        ("fdscand", "--wor", "--workers"),
    ] {
        let script = format!(
            "source completions/{program}.bash; COMP_WORDS=({program} {words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _{program} {program} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             echo \"${{COMPREPLY[*]}}\""
        );
        let output =
            run(Command::new("bash").args(["--norc", "-c", &script]).current_dir(repository()));
        assert_eq!(text(&output.stdout).trim(), expected, "{program}: {output:?}");
    }
}
