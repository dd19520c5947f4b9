//! Why a scan could not be made or did not reach its end.
//!
//! Runs in the user's process. What became of single files is never an error but an outcome.

use std::io;
use std::path::PathBuf;

use crate::channel::ChannelError;
use crate::client_link::Refusal;
use crate::escape::Escaped;
use crate::wire::WireError;

/// Why there is no scan, or no more of it. The connection is not usable afterwards.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no broker at {}: {source}", Escaped(path.as_os_str().as_encoded_bytes()))]
    NoBroker {
        /// The socket.
        path: PathBuf,
        /// What connect(2) said.
        source: io::Error,
    },
    /// The broker or its opener says no, and why.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection ended in the middle of a scan.
    #[error("the broker closed the connection before the scan was finished")]
    Lost,
    /// Its caller wanted it to end; see [`Scan::stopping`].
    ///
    /// [`Scan::stopping`]: super::Scan::stopping
    #[error("the scan was stopped")]
    Stopped,
    /// No sign of life.
    #[error("the broker has not answered for {0} seconds")]
    Silent(u64),
    /// It was interrupted and cannot go on by itself, though it was to: what happened, and why not.
    #[error("{0}; the scan cannot go on by itself: {1}")]
    Unresumable(String, &'static str),
    /// The options break a limit of the protocol.
    #[error("scan options: {0}")]
    Options(WireError),
    /// The peer sent what does not belong there.
    #[error("the broker does not keep to the protocol: {0}")]
    Protocol(String),
    /// A system call on the connection failed.
    #[error("connection to the broker: {0}")]
    Io(#[from] io::Error),
}

impl ClientError {
    pub(super) fn protocol(what: &str) -> Self {
        Self::Protocol(what.to_owned())
    }
}

impl From<ChannelError> for ClientError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Lost,
            ChannelError::Io(error) => Self::Io(error),
            other => Self::Protocol(other.to_string()),
        }
    }
}
