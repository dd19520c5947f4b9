//! What the cases share: a broker for each set of rules, trees, and the neighbours, made when first asked for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fdbroker_tests::Env;

use super::clamd::Clamd;
use super::peers::Peer;
use super::{rules, trees};

/// Workers of a broker, and threads of `yr` where the case names them.
pub const WORKERS: &str = "2";

/// Everything that is measured, or measured with.
pub struct Stage {
    one: Env,
    programs: PathBuf,
    many: OnceLock<Env>,
    tree: OnceLock<PathBuf>,
    large: OnceLock<PathBuf>,
    clamd: OnceLock<Result<Clamd, String>>,
    compiled: OnceLock<Result<PathBuf, String>>,
}

fn broker(rules: &str) -> Env {
    let env = Env::build().rule("bench.yar", rules).broker_arg("--workers").broker_arg(WORKERS);
    env.start_spawned()
}

impl Stage {
    pub fn new() -> Self {
        let one = broker(&rules::one());
        let programs = one.install();
        Self {
            one,
            programs,
            many: OnceLock::new(),
            tree: OnceLock::new(),
            large: OnceLock::new(),
            clamd: OnceLock::new(),
            compiled: OnceLock::new(),
        }
    }

    /// The broker with one rule.
    pub fn one(&self) -> &Env {
        &self.one
    }

    /// The broker with many rules.
    pub fn many(&self) -> &Env {
        self.many.get_or_init(|| broker(&rules::many()))
    }

    /// 20,000 small files.
    pub fn tree(&self) -> &Path {
        self.tree.get_or_init(|| {
            eprintln!("bench: writing {} files", trees::FILES);
            let path = self.path("tree");
            trees::small_files(&path, trees::DIRECTORIES, trees::FILES_EACH);
            path
        })
    }

    /// One small file.
    pub fn file(&self) -> PathBuf {
        self.tree().join("0000/note-0000.txt")
    }

    /// One large file.
    pub fn large(&self) -> &Path {
        self.large.get_or_init(|| {
            eprintln!("bench: writing a file of 2 GiB");
            let path = self.path("large");
            trees::large_file(&path);
            path
        })
    }

    /// clamd with one signature.
    pub fn clamd(&self) -> Result<&Clamd, String> {
        let started = self.clamd.get_or_init(|| {
            Peer::Clamdscan.find()?;
            let place = self.path("clamd");
            std::fs::create_dir(&place).expect("mkdir");
            Clamd::start(&place)
        });
        started.as_ref().map_err(Clone::clone)
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.one.dir().join(name)
    }

    /// `fdscan --runtime-dir …`.
    pub fn fdscan(&self, env: &Env) -> Command {
        let mut command = Command::new(self.programs.join("fdscan"));
        command.arg("--runtime-dir").arg(env.runtime());
        command
    }

    /// `fdscan`, to start a broker of its own.
    pub fn private_fdscan(&self) -> Command {
        Command::new(self.programs.join("fdscan"))
    }

    /// `yr scan RULES` with the one rule.
    pub fn yr_one(&self, yr: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(yr);
        command.arg("scan").args(options).arg(self.rule_file());
        command
    }

    /// The file of the one rule.
    pub fn rule_file(&self) -> PathBuf {
        self.one.rules().expect("rules").join("bench.yar")
    }

    /// `yr scan -C RULES` with the many rules, compiled, and two threads.
    pub fn yr_many(&self, yr: &Path) -> Result<Command, String> {
        let compiled = self.compiled.get_or_init(|| {
            let path = self.path("compiled.yarc");
            let source = self.many().rules().expect("rules").join("bench.yar");
            let output = Command::new(yr).arg("compile").arg("-o").arg(&path).arg(source).output();
            let output = output.map_err(|error| error.to_string())?;
            let said = || String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(path).ok_or_else(said)
        });
        let mut command = Command::new(yr);
        command.args(["scan", "-r", "-p", WORKERS, "-C"]).arg(compiled.as_ref()?);
        Ok(command)
    }
}

/// A command with more arguments.
pub fn with(mut command: Command, arguments: &[&OsStr]) -> Command {
    command.args(arguments);
    command
}
