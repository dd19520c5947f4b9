//! Names of all kinds, as targets and in trees: none of them makes a record, or a field, of its own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_common::escape::Escaped;
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Env, require_root};

use crate::stage::{Place, of};

const NAMES: &[&[u8]] = &[
    b"a\ntime=\"2000-01-01T00:00:00.000000Z\" seq=1 event=\"request\" uid=0",
    b"a\" outcome=\"clean\" x=\"",
    b"a\\\" outcome=\"clean",
    b"a\\",
    b"\",\"uid\":0,\"x\":\"",
    b"{\"event\":\"request\"}\n",
    b"\xff\xfe\x1b[2K\r\x7f",
    b"x\xe2\x80\xaegpj.exe",
    b"a\xe2\x80\xa8b\xc2\x85c",
    b"= =",
];

#[test]
fn no_name_makes_a_record_of_its_own_and_each_can_be_read_back() {
    require_root!();
    for format in ["json", "text"] {
        let place = Place::new();
        let config = place.to_file(&format!("format = \"{format}\""));
        let env = Env::build().broker_arg("--config").broker_arg(config).start_spawned();
        for name in NAMES {
            files::write(&env.dir().join("tree").join(OsStr::from_bytes(name)), EICAR);
        }
        let tree = env.dir().join("tree");
        // In a tree, and as targets by their own names.
        let targets = NAMES.iter().map(|name| tree.join(OsStr::from_bytes(name)));
        let program = env.fdscan_program(&Caller::user(2000)).arg("--").arg(&tree);
        let output = program.args(targets).output();
        assert_eq!(output.code, Some(1), "{output}");
        env.stop();
        let mut expected: Vec<String> = NAMES
            .iter()
            .chain(NAMES)
            .map(|name| Escaped(&[tree.as_os_str().as_bytes(), b"/", name].concat()).to_string())
            .collect();
        expected.sort_unstable();
        let lines = place.lines();
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:#?}");
        // start, connection, 8 of the targets, files, request, stop.
        assert_eq!(lines.len(), 2 + 8 + expected.len() + 2, "{lines:#?}");
        let mut told: Vec<String> = if format == "json" {
            let records = place.records();
            assert_eq!(records.len(), lines.len());
            let path = |record: &&serde_json::Value| record["path"].as_str().map(str::to_owned);
            of(&records, "file").iter().filter_map(path).collect()
        } else {
            let files = lines.iter().filter(|line| line.contains(" event=\"file\" uid=2000 "));
            let path = |line: &String| {
                let (_, rest) = line.split_once(" path=\"")?;
                Some(rest.split_once("\" path_cut=false ")?.0.replace("\\\"", "\""))
            };
            files.filter_map(path).collect()
        };
        told.sort_unstable();
        assert_eq!(told, expected, "{format}");
    }
}
