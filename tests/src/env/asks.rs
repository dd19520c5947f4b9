//! What a test asks the processes of an environment, and looks up about them.

use std::ffi::OsStr;

use fdbroker_common::admin_link::{AdminReply, AdminRequest, Status};
use fdbroker_common::channel::Channel;
use fdbroker_common::client::connect_seqpacket;
use fdbroker_common::paths;

use super::Env;
use crate::{Caller, Connection, Feed, Output, Program, Running, proc};

impl Env {
    /// `fdscan --runtime-dir …`, to be completed.
    pub fn fdscan_program(&self, caller: &Caller) -> Program {
        Program::new("fdscan").caller(caller).arg("--runtime-dir").arg(&self.runtime)
    }

    /// Runs fdscan as a user against this broker.
    #[must_use]
    #[track_caller]
    pub fn fdscan<A: AsRef<OsStr>>(
        &self,
        caller: &Caller,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.fdscan_program(caller).args(arguments).output()
    }

    /// An fdscan of a user that is given its files one by one.
    #[must_use]
    pub fn feed(&self, caller: &Caller) -> Feed {
        Feed::start(self.fdscan_program(caller))
    }

    /// Runs fdbrokerctl as a user against this broker.
    #[must_use]
    #[track_caller]
    pub fn ctl_as<A: AsRef<OsStr>>(
        &self,
        caller: &Caller,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        let program = Program::new("fdbrokerctl").caller(caller).arg("--runtime-dir");
        program.arg(&self.runtime).args(arguments).output()
    }

    /// Runs fdbrokerctl as the broker's user.
    #[must_use]
    #[track_caller]
    pub fn ctl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.ctl_as(&self.caller, arguments)
    }

    /// Connects to the client socket as a user.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn connect(&self, caller: &Caller) -> Connection {
        Connection::open(caller, &self.client_socket()).expect("a connection")
    }

    /// What the broker says of itself on the admin socket. Needs to be run by its user.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Status {
        let socket =
            connect_seqpacket(&self.runtime.join(paths::ADMIN_SOCKET)).expect("admin.sock");
        let mut link = Channel::<AdminRequest, AdminReply>::adopt(socket).expect("a channel");
        link.send(&AdminRequest::Status, &[]).expect("a request");
        match link.receive() {
            Ok((AdminReply::Status(status), _)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// All processes of the broker and of fdscand, living or not.
    #[must_use]
    pub fn processes(&self) -> Vec<proc::Entry> {
        let started = [&self.broker, &self.scanner].into_iter().flatten();
        started.flat_map(|running| proc::group(running.pid())).collect()
    }

    /// Those of its processes that have this name (`comm`).
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<u32> {
        let pids: Vec<u32> = self.processes().iter().map(|entry| entry.pid).collect();
        proc::named(&pids, name)
    }

    /// What broker and scanner have logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let logs = [&self.broker, &self.scanner].into_iter().flatten().map(Running::log);
        logs.collect::<Vec<_>>().join("--- fdscand\n")
    }
}
