//! Clients and administrators that are none, or none that anybody wants.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fdbroker_common::admin_link::AdminRequest;
use fdbroker_common::client_link::{ClientToOpener, ScanOptions, Target};
use fdbroker_common::wire::{self, Message};
use fdbroker_common::{fdpass, paths};

use super::Soak;
use crate::{Caller, Connection};

/// Most connections that are held open.
const HELD_MAX: usize = 12;
/// For how long, in milliseconds.
const HELD_MS: usize = 4000;

/// A connection that is held, until when.
#[derive(Debug)]
pub struct Held {
    _connection: Connection,
    until: Instant,
}

fn bytes(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Nothing is sent for what cannot be encoded, which is nothing here.
    let _ = wire::encode(message, &mut bytes);
    bytes
}

impl Soak {
    /// Somebody says what does not belong, or nothing.
    pub fn be_hostile(&mut self) {
        let uid = [2901, 2902, 2000].get(self.random.below(3)).copied().unwrap_or(2901);
        if self.random.once_in(8) {
            let socket = self.env.runtime().join(paths::ADMIN_SOCKET);
            if let Ok(connection) = Connection::open(&Caller::root(), &socket) {
                self.say(&connection, &bytes(&AdminRequest::Status), 1);
                self.tally.add("hostile administrator");
            }
            return;
        }
        let Ok(connection) = Connection::open(&Caller::user(uid), &self.env.client_socket()) else {
            return;
        };
        let start = bytes(&ClientToOpener::Start(ScanOptions::default()));
        match self.random.below(5) {
            0 => {
                let length = 1 + self.random.below(2000);
                let noise = self.random.bytes(length);
                self.say(&connection, &noise, 0);
                self.tally.add("hostile client: noise");
            }
            1 => {
                let surplus = [1, 2, 253].get(self.random.below(3)).copied().unwrap_or(1);
                self.say(&connection, &start, surplus);
                self.tally.add("hostile client: surplus descriptors");
            }
            2 => {
                self.say(&connection, &start, 0);
                self.say(&connection, &start, 0);
                self.tally.add("hostile client: out of turn");
            }
            3 => {
                self.tally.add("hostile client: silent");
                self.hold(connection);
            }
            _ => {
                // It has everything scanned and reads nothing.
                let name = b"main".to_vec().into();
                let targets = ClientToOpener::Targets(vec![Target { id: 0, name }]);
                self.say(&connection, &start, 0);
                if let Ok(tree) = File::open(&self.trees.main) {
                    let _ = fdpass::send(connection.socket(), &bytes(&targets), &[tree.as_fd()]);
                }
                self.say(&connection, &bytes(&ClientToOpener::End), 0);
                self.tally.add("hostile client: does not read");
                self.hold(connection);
            }
        }
    }

    fn say(&self, connection: &Connection, bytes: &[u8], descriptors: usize) {
        let bait = File::open("/dev/null").ok();
        let bait: Vec<BorrowedFd<'_>> =
            bait.iter().flat_map(|bait| std::iter::repeat_n(bait.as_fd(), descriptors)).collect();
        let _ = connection.socket().set_write_timeout(Some(Duration::from_secs(5)));
        // The other side may have gone already.
        let _ = fdpass::send(connection.socket(), bytes, &bait);
    }

    fn hold(&mut self, connection: Connection) {
        if self.held.len() < HELD_MAX {
            let until = Instant::now() + self.random.milliseconds(HELD_MS);
            self.held.push(Held { _connection: connection, until });
        }
    }

    /// Closes connections whose time is over, or all.
    pub fn let_go(&mut self, all: bool) {
        let now = Instant::now();
        self.held.retain(|held| !all && held.until > now);
    }
}
