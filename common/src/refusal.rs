//! The one thing that a broker itself says to a client: that no scan is possible, and why.

use serde::{Deserialize, Serialize};

use crate::limits::PROTOCOL_VERSION;

/// Tag of what an opener, or the broker in its place, says to a client.
pub const OPENER_TO_CLIENT_TAG: u8 = 0x12;

/// Why no scan is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No scanner is connected, and none came within a bounded wait.
    NoScanner,
    /// Too many connections of this user.
    TooManyConnections,
    /// The broker does not serve this user.
    NotAllowed,
    /// No process, memory or descriptor was left to serve it.
    Overloaded,
    /// An exclude pattern is none.
    BadPattern,
    /// Links cannot be followed for a client whose root directory or mount namespace is another.
    ForeignRoot,
    /// The client kept an opener and did not say what it was to say next, or took no reports.
    Silent,
    /// Too many workers of this user hang in the kernel and cannot be ended.
    WorkersHang,
}

impl Refusal {
    /// The whole message `OpenerToClient::Refused`, without the rest of that link.
    #[must_use]
    pub fn message(self) -> [u8; 4] {
        [PROTOCOL_VERSION, OPENER_TO_CLIENT_TAG, 0, self as u8]
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use crate::client_link::OpenerToClient;
    use crate::wire::decode;

    #[test]
    fn the_short_form_is_the_message_of_the_link() {
        for refusal in [
            Refusal::NoScanner,
            Refusal::TooManyConnections,
            Refusal::NotAllowed,
            Refusal::Overloaded,
            Refusal::BadPattern,
            Refusal::ForeignRoot,
            Refusal::Silent,
            Refusal::WorkersHang,
        ] {
            assert_eq!(decode(&refusal.message()), Ok(OpenerToClient::Refused(refusal)));
        }
    }
}
