//! The units as systemd sees them: without mistakes, and no more exposed than their page says and argues.
//! Needs no privilege and no running systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fdbroker_tests::files::Scratch;
use fdbroker_tests::{program, require_tool, skip};

/// Services, with the most of exposure that each may have, in tenths.
const SERVICES: [(&str, u32); 2] = [("fdbroker.service", 36), ("fdscand.service", 3)];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).args(units).env("LC_ALL", "C.UTF-8").env("SYSTEMD_COLORS", "0");
    command.output().expect("systemd-analyze starts")
}

/// Copies that name the programs where they are built.
fn units(scratch: &Scratch) -> Vec<PathBuf> {
    let programs = format!("{}/", program::directory().display());
    let copy = |entry: std::io::Result<fs::DirEntry>| {
        let unit = entry.unwrap().path();
        let is_unit = unit.extension().is_some_and(|end| end == "service" || end == "socket");
        let text = fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/sbin/", &programs).replace("/usr/bin/", &programs);
        let copy = scratch.path().join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        is_unit.then_some(copy)
    };
    let found: Vec<PathBuf> =
        fs::read_dir(repository().join("systemd")).unwrap().filter_map(copy).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    found
}

#[test]
fn systemd_finds_no_mistake_in_the_units() {
    require_tool!("systemd-analyze");
    let scratch = Scratch::new();
    let output = analyze(&["verify", "--man=no"], &units(&scratch));
    let said = String::from_utf8_lossy(&output.stderr);
    // It also looks at units of this machine that ours refer to.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("fd")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

/// What systemd counts as exposure, by the names of its table.
fn exposures(unit: &Path) -> BTreeSet<String> {
    let arguments = ["security", "--offline=true", "--json=short", "--no-pager"];
    let output = analyze(&arguments, &[unit.to_path_buf()]);
    let lines: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let exposed = |line: &&serde_json::Value| {
        line["exposure"].as_str().is_some_and(|exposure| exposure.parse::<f64>().is_ok())
            && line["set"] == false
    };
    let lines = lines.as_array().expect("lines");
    lines.iter().filter(exposed).map(|line| line["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_exposure_of_a_service_is_argued_and_there_is_no_more_of_it() {
    require_tool!("systemd-analyze");
    let version = analyze(&["--version"], &[]).stdout;
    if !version.starts_with(b"systemd 252 ") {
        skip!("needs systemd 252, of which the page argues each line");
    }
    let scratch = Scratch::new();
    let page = fs::read_to_string(repository().join("docs/installation.md")).unwrap();
    let units = units(&scratch);
    for (service, most) in SERVICES {
        let unit = units.iter().find(|unit| unit.ends_with(service)).unwrap();
        let arguments = ["security", "--offline=true", "--no-pager"];
        let threshold = format!("--threshold={most}");
        let output = analyze(&[&arguments[..], &[&threshold]].concat(), std::slice::from_ref(unit));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let (_, section) = page.split_once(&format!("### {service}\n")).expect(service);
        let section = section.split("\n#").next().unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let argued: BTreeSet<String> = rows.map(|(name, _)| name.replace("\\|", "|")).collect();
        assert_eq!(exposures(unit), argued, "{service}");
    }
}

#[test]
fn the_broker_has_the_mount_namespace_of_its_callers() {
    // Else their root directory would not be its own, and no link would be followed for them.
    let unit = fs::read_to_string(repository().join("systemd/fdbroker.service")).unwrap();
    let set: BTreeSet<&str> = unit
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(_, value)| *value != "no")
        .map(|(name, _)| name)
        .collect();
    let make_one = [
        "BindPaths",
        "BindReadOnlyPaths",
        "InaccessiblePaths",
        "MountFlags",
        "PrivateDevices",
        "PrivateIPC",
        "PrivateMounts",
        "PrivateTmp",
        "ProcSubset",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectProc",
        "ProtectSystem",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "RootDirectory",
        "RootImage",
        "RuntimeDirectory",
        "TemporaryFileSystem",
    ];
    let found: Vec<&&str> = make_one.iter().filter(|name| set.contains(*name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
