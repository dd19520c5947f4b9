//! A broker that records to a file, and the records in it.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::files::{self, Scratch};
use fdbroker_tests::{Env, wait_until};
use serde_json::Value;

/// Where configuration and records are. Dropped last.
pub struct Place {
    scratch: Scratch,
}

impl Place {
    pub fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    pub fn log(&self) -> PathBuf {
        self.dir().join("audit.log")
    }

    /// A configuration file with this section.
    pub fn config(&self, audit: &str) -> PathBuf {
        let path = self.dir().join("fdbroker.toml");
        files::write(&path, format!("[audit]\n{audit}\n").as_bytes());
        path
    }

    /// A configuration that records to the file.
    pub fn to_file(&self, more: &str) -> PathBuf {
        self.config(&format!("to = \"{}\"\n{more}", self.log().display()))
    }

    /// Root's broker, which records as JSON to the file.
    pub fn start_json(&self) -> Env {
        let config = self.to_file("format = \"json\"");
        Env::build().broker_arg("--config").broker_arg(config).start_spawned()
    }

    pub fn lines(&self) -> Vec<String> {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8(bytes).expect("records are text");
        text.lines().map(str::to_owned).collect()
    }

    /// All records so far, as JSON. One that is being written is not there yet.
    pub fn records(&self) -> Vec<Value> {
        let records = self.lines().into_iter().map(|line| serde_json::from_str(&line));
        records.map_while(Result::ok).collect()
    }

    /// All records, when the last scan of this number has its own.
    #[track_caller]
    pub fn after_requests(&self, count: usize) -> Vec<Value> {
        wait_until("the record of a request", || {
            let records = self.records();
            (of(&records, "request").len() >= count).then_some(records)
        })
    }
}

/// Records of this event.
pub fn of<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}
