//! Pages that name tests name tests that exist. Needs no privilege.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fdbroker_tests::require_tool;

/// Pages whose words in backticks of the form `place::test` are tests.
const PAGES: [&str; 3] = ["docs/threat-model.md", "docs/testing.md", "docs/comparison.md"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

/// Source files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.map(|entry| entry.path()).flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Where tests of a place are: a file or directory of tests, or a whole crate.
fn place(name: &str) -> Vec<PathBuf> {
    let crates = ["tests", "common", "broker", "scanner", "cli"];
    let mut found = Vec::new();
    for directory in crates.map(|part| repository().join(part).join("tests")) {
        let file = directory.join(format!("{name}.rs"));
        found.extend(sources(&directory.join(name)));
        found.extend(file.is_file().then_some(file));
    }
    if crates.contains(&name) {
        found.extend(sources(&repository().join(name).join("src")));
    }
    found
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut named = 0;
    for page in PAGES {
        let text = fs::read_to_string(repository().join(page)).expect(page);
        let words = text.split('`').skip(1).step_by(2);
        for (place_name, test) in words.filter_map(|word| word.split_once("::")) {
            if !is_name(place_name) || !is_name(test) || test.len() < 20 {
                continue;
            }
            named += 1;
            let heading = format!("fn {test}(");
            let exists = place(place_name)
                .iter()
                .any(|path| fs::read_to_string(path).is_ok_and(|source| source.contains(&heading)));
            assert!(exists, "{page}: there is no test {place_name}::{test}");
        }
    }
    assert!(named > 50, "{named} tests are named");
}

#[test]
fn every_mutation_can_still_be_made_and_is_told() {
    require_tool!("git");
    let page = fs::read_to_string(repository().join("docs/testing.md")).expect("a page");
    let patches = fs::read_dir(repository().join("tests/mutations")).expect("mutations");
    let mut count = 0;
    for patch in patches.map(|entry| entry.expect("an entry").path()) {
        count += 1;
        let text = fs::read_to_string(&patch).expect("a patch");
        let defence = text.lines().find_map(|line| line.strip_prefix("Defence: "));
        let row = format!("| {} |", defence.expect("a defence"));
        assert!(page.contains(&row), "{}: docs/testing.md has no row {row}", patch.display());
        let mut git = Command::new("git");
        let checked = git.args(["apply", "--check"]).arg(&patch).current_dir(repository()).output();
        let checked = checked.expect("git");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(count > 15, "{count} mutations");
}

/// What begins like a metric, without what Prometheus adds to the name of a histogram.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("fdbroker_"));
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name))
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect(path);
    let page = read("docs/metrics.md");
    for path in ["prometheus-alerts.yml", "prometheus-dashboard.json"] {
        let text = read(&format!("packaging/examples/{path}"));
        let mut asked = 0;
        for name in metrics(&text) {
            asked += 1;
            assert!(page.contains(&format!("| `{name}` |")), "{path}: there is no metric {name}");
        }
        assert!(asked > 5, "{path} asks for {asked} metrics");
    }
}
