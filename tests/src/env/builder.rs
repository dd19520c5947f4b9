//! What an environment is to be like, and how it is brought up.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::Env;
use crate::Caller;
use crate::files::{self, Scratch};

/// What an [`Env`] is to be like.
#[derive(Debug, Default)]
#[must_use]
pub struct EnvBuilder {
    pub(super) rules: Vec<(String, String)>,
    pub(super) broker_args: Vec<OsString>,
    pub(super) scanner_args: Vec<OsString>,
    pub(super) scanner_program: Option<String>,
    pub(super) scanner_data_max: Option<u64>,
}

impl EnvBuilder {
    /// Adds a rule file.
    pub fn rule(mut self, name: &str, text: &str) -> Self {
        self.rules.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Adds an argument of fdbroker.
    pub fn broker_arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.broker_args.push(argument.as_ref().to_owned());
        self
    }

    /// Adds an argument of an fdscand that is started by hand.
    pub fn scanner_arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.scanner_args.push(argument.as_ref().to_owned());
        self
    }

    /// Starts this executable instead when fdscand is started by hand, as `examples/fdscand-faults`.
    pub fn scanner_program(mut self, name: &str) -> Self {
        self.scanner_program = Some(name.to_owned());
        self
    }

    /// Limits the memory of each process of an fdscand that is started by hand.
    pub fn scanner_data_max(mut self, bytes: u64) -> Self {
        self.scanner_data_max = Some(bytes);
        self
    }

    /// Directories only; nothing is started.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn idle(self) -> Env {
        let scratch = Scratch::new();
        let mkdir = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).expect("mkdir");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
            path
        };
        let runtime = mkdir("run");
        let rules = (!self.rules.is_empty()).then(|| mkdir("rules"));
        let env = Env {
            builder: self,
            scratch,
            runtime,
            rules,
            caller: Caller::own(),
            broker: None,
            scanner: None,
        };
        for (name, text) in &env.builder.rules {
            env.write_rule(name, text);
        }
        env
    }

    /// fdbroker as root, which starts fdscand.
    ///
    /// # Panics
    /// When it does not serve within the bound.
    #[must_use]
    pub fn start_spawned(mut self) -> Env {
        self.broker_args.push("--spawn-scanner".into());
        let mut env = self.idle();
        env.start_broker();
        env.wait_serving();
        env
    }

    /// fdbroker as root, then fdscand as nobody.
    ///
    /// # Panics
    /// When it does not serve within the bound.
    #[must_use]
    pub fn start_separate(self) -> Env {
        let mut env = self.idle();
        env.start_broker();
        env.start_scanner();
        env.wait_serving();
        env
    }

    /// fdbroker as an ordinary user, which starts fdscand.
    ///
    /// # Panics
    /// When it does not serve within the bound.
    #[must_use]
    pub fn start_rootless(mut self, uid: u32) -> Env {
        self.broker_args.push("--spawn-scanner".into());
        let mut env = self.idle();
        if nix::unistd::geteuid().is_root() {
            env.caller = Caller::user(uid);
            files::own(&env.runtime, uid, uid, 0o700);
        }
        env.start_broker();
        env.wait_serving();
        env
    }
}
