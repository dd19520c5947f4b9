//! Scans of every kind, as users make them, and what each must come to.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Soak;
use super::faults::Tally;
use super::tree::{DEADLINE_S, Expected, Table};
use crate::files::EICAR;
use crate::{Caller, Program, Running};

/// No scan here takes longer, whatever is done to it.
const BOUND: Duration = Duration::from_secs(300);

/// Whoever has files scanned that end workers.
const UID_OF_FAULTS: u32 = 2900;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines, all of them.
    Text,
    /// Lines of matches, the others on standard error.
    Infected,
    /// Objects.
    Json,
}

/// A scan that goes on.
#[derive(Debug)]
pub struct Scan {
    /// Which kind.
    pub what: &'static str,
    /// `fdscan`.
    pub running: Running,
    /// Its output.
    pub form: Form,
    /// The directory that its paths lie beneath.
    pub base: PathBuf,
    /// What each file must come to; none: whatever there is must be harmless.
    pub table: Option<Table>,
    /// When it began, and what had been done by then.
    pub since: Instant,
    /// Faults that had been aimed at anything by then.
    pub before: Tally,
    /// Whether we have ended it ourselves.
    pub killed: bool,
}

impl Scan {
    /// Whether it takes longer than anything may.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.since.elapsed() > BOUND
    }
}

impl Soak {
    fn caller(&mut self) -> Caller {
        let uids = [0, 2000, 2001, 2002, 2003, 2004];
        Caller::user(self.random.pick(&uids).copied().unwrap_or(0))
    }

    fn fdscan(&self, caller: &Caller) -> Program {
        self.env.fdscan_program(caller)
    }

    /// Begins a scan of some kind.
    pub fn begin_scan(&mut self) {
        let caller = self.caller();
        let scan = match self.random.below(20) {
            0..=4 => self.whole_tree(&caller, Form::Text),
            5..=7 => self.whole_tree(&caller, Form::Json),
            8..=10 => self.whole_tree(&caller, Form::Infected),
            11..=13 => self.list(&caller),
            14..=15 => self.stream(&caller),
            16 if self.plan.endless => self.endless(&caller),
            17 if self.trees.faults.is_some() => self.faulty(),
            _ => self.churned(&caller),
        };
        self.scans.push(scan);
    }

    fn scan(
        &self,
        what: &'static str,
        (program, form): (Program, Form),
        base: PathBuf,
        table: Option<Table>,
    ) -> Scan {
        let program = match form {
            Form::Text => program,
            Form::Infected => program.arg("-i"),
            Form::Json => program.arg("--json"),
        };
        let (since, before) = (Instant::now(), self.tally.clone());
        let running = program.spawn();
        Scan { what, running, form, base, table, since, before, killed: false }
    }

    fn table_of(&self, caller: &Caller) -> Table {
        self.trees.tables[usize::from(caller.uid == 0)].clone()
    }

    /// The whole tree, as a user.
    pub fn whole_tree(&self, caller: &Caller, form: Form) -> Scan {
        let main = self.trees.main.clone();
        let what = match form {
            Form::Text => "tree, text",
            Form::Infected => "tree, -i",
            Form::Json => "tree, JSON",
        };
        let program = self.fdscan(caller).arg(&main);
        self.scan(what, (program, form), main, Some(self.table_of(caller)))
    }

    /// Some files, named in a list.
    fn list(&mut self, caller: &Caller) -> Scan {
        let main = self.trees.main.clone();
        let whole = self.table_of(caller);
        // A link is followed when it is named itself, and what is in a closed directory is not found.
        let listable = |name: &str| !name.contains("link") && !name.starts_with("closed");
        let named = |name: &str| !name.contains("dangling") && listable(name);
        let mut table = whole.clone();
        table.retain(|name, _| named(name) && !self.random.once_in(3));
        let lines: Vec<String> =
            table.keys().map(|name| format!("{}\n", main.join(name).display())).collect();
        let list = self.env.dir().join("list");
        // Unlinked at once: nobody else finds it.
        let mut file = File::create_new(&list).expect("a list");
        file.write_all(lines.concat().as_bytes()).expect("a list");
        let file = File::open(&list).expect("a list");
        std::fs::remove_file(&list).expect("a list");
        let program = self.fdscan(caller).args(["--files-from", "-"]).stdin(file);
        self.scan("list", (program, Form::Text), main, Some(table))
    }

    /// Standard input.
    fn stream(&mut self, caller: &Caller) -> Scan {
        let found = self.random.once_in(2);
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let (contents, outcome): (&[u8], _) =
            if found { (EICAR, "EICAR_Test_File FOUND") } else { (b"hay", "OK") };
        writer.write_all(contents).expect("room in a pipe");
        let program = self.fdscan(caller).arg("-").stdin(OwnedFd::from(reader));
        let table = Table::from([("-".to_owned(), Expected::This(outcome.to_owned()))]);
        self.scan("standard input", (program, Form::Text), PathBuf::from("/"), Some(table))
    }

    fn endless(&self, caller: &Caller) -> Scan {
        let (base, table) = self.trees.endless.clone();
        let deadline = DEADLINE_S.to_string();
        let program = self.fdscan(caller).args(["--timeout", deadline.as_str()]).arg(&base);
        self.scan("endless file", (program, Form::Text), base, Some(table))
    }

    fn faulty(&self) -> Scan {
        let (base, table) = self.trees.faults.clone().unwrap_or_default();
        let program = self.fdscan(&Caller::user(UID_OF_FAULTS)).arg(&base);
        self.scan("faulty files", (program, Form::Text), base, Some(table))
    }

    fn churned(&self, caller: &Caller) -> Scan {
        let base = self.trees.churn.clone();
        let program = self.fdscan(caller).arg(&base);
        self.scan("changing tree", (program, Form::Text), base, None)
    }
}
