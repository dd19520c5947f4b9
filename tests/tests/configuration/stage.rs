//! A directory with configuration files, and the broker's judgement of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use fdbroker_tests::files::{self, Scratch};
use fdbroker_tests::{Caller, Output, Program};

/// A directory of root's, or of whoever runs the test.
pub struct Stage(Scratch);

impl Stage {
    pub fn new() -> Self {
        Self(Scratch::new())
    }

    /// With this as fdbroker.toml; `%` stands for the directory.
    pub fn with(text: &str) -> Self {
        let stage = Self::new();
        stage.write("fdbroker.toml", text);
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `%` for the directory.
    pub fn fill(&self, text: &str) -> String {
        text.replace('%', self.0.path().to_str().expect("UTF-8"))
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        files::write(&path, self.fill(text).as_bytes());
        path
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("mkdir");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    }

    /// Everything to one user.
    pub fn give_to(&self, uid: u32) {
        fn give(path: &Path, uid: u32) {
            chown(path, Some(uid), None).expect("chown");
            if path.is_dir() {
                fs::read_dir(path)
                    .expect("entries")
                    .for_each(|entry| give(&entry.expect("entry").path(), uid));
            }
        }
        give(self.0.path(), uid);
    }

    pub fn program(&self, caller: &Caller) -> Program {
        let file = self.path("fdbroker.toml");
        Program::new("fdbroker").caller(caller).arg("--config").arg(file)
    }

    /// `fdbroker --check-config`, as whoever runs the test.
    #[track_caller]
    pub fn check(&self) -> Output {
        self.program(&Caller::own())
            .arg("--check-config")
            .arg("--runtime-dir")
            .arg("/run/x")
            .output()
    }

    /// The one mistake is this.
    #[track_caller]
    pub fn assert_refused(&self, mistake: &str) {
        let output = self.check().expect_code(2);
        assert_eq!(output.errors(), format!("fdbroker: {}\n", self.fill(mistake)), "{output}");
        assert_eq!(output.text(), "");
    }

    /// It is accepted, with these warnings.
    #[track_caller]
    pub fn assert_warned(&self, warnings: &[&str]) {
        let output = self.check().expect_code(0);
        let expected: String = warnings
            .iter()
            .map(|text| format!("fdbroker: warning: {}\n", self.fill(text)))
            .collect();
        assert_eq!(output.errors(), expected, "{output}");
    }
}
