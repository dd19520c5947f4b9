//! Bytes to messages and back: total, bounded, and free of panics.
//!
//! A message is `version: u8`, `tag: u8` (which link and direction), then the body in the published
//! postcard 1.0 wire format. Runs in every process; touches no socket.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{MESSAGE_BYTES_MAX, PROTOCOL_VERSION};

/// Length of the header: version and tag.
pub const HEADER_BYTES: usize = 2;

/// One direction of one link.
pub trait Message: Serialize + DeserializeOwned {
    /// Which link and direction; unique over all message types.
    const TAG: u8;
    /// Most descriptors that any message of this direction carries. With 0 the receiving end
    /// offers no room for descriptors at all and the kernel discards them.
    const DESCRIPTORS_MAX: usize;

    /// Exactly how many descriptors travel with this message.
    fn descriptors(&self) -> usize {
        0
    }

    /// Bounds that the format itself does not express.
    ///
    /// # Errors
    /// [`WireError::Bound`] names the field that is out of bounds.
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than the header.
    #[error("message without a header")]
    Short,
    /// Another protocol version.
    #[error(
        "protocol version {0}, not {PROTOCOL_VERSION}: client and broker are of different releases"
    )]
    Version(u8),
    /// A message of another link or direction.
    #[error("message tag {got:#04x} where {want:#04x} belongs")]
    Tag {
        /// Tag of this direction.
        want: u8,
        /// Tag that was received.
        got: u8,
    },
    /// The body does not decode: unknown verb, short body, bad text.
    #[error("malformed message body")]
    Body,
    /// Bytes after the body.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
    /// A field beyond its bound.
    #[error("{0} is out of bounds")]
    Bound(&'static str),
    /// The message does not fit [`MESSAGE_BYTES_MAX`].
    #[error("message too large")]
    TooLarge,
}

/// Writes a message into `buffer`, replacing its contents.
///
/// # Errors
/// [`WireError::TooLarge`] or [`WireError::Bound`]: the message breaks a limit.
pub fn encode<M: Message>(message: &M, buffer: &mut Vec<u8>) -> Result<(), WireError> {
    message.check()?;
    buffer.clear();
    buffer.extend_from_slice(&[PROTOCOL_VERSION, M::TAG]);
    let filled =
        postcard::to_extend(message, std::mem::take(buffer)).map_err(|_| WireError::Body)?;
    *buffer = filled;
    if buffer.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge);
    }
    Ok(())
}

/// Reads one whole message.
///
/// # Errors
/// Any deviation from the format is an error; nothing is skipped or guessed.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    let (version, tag, body) = match bytes {
        [version, tag, body @ ..] => (*version, *tag, body),
        _ => return Err(WireError::Short),
    };
    if version != PROTOCOL_VERSION {
        return Err(WireError::Version(version));
    }
    if tag != M::TAG {
        return Err(WireError::Tag { want: M::TAG, got: tag });
    }
    let (message, rest) = postcard::take_from_bytes::<M>(body).map_err(|_| WireError::Body)?;
    if !rest.is_empty() {
        return Err(WireError::Trailing(rest.len()));
    }
    message.check()?;
    Ok(message)
}

/// For [`Message::check`].
///
/// # Errors
/// `WireError::Bound(what)` unless `holds`.
pub fn bound(holds: bool, what: &'static str) -> Result<(), WireError> {
    if holds { Ok(()) } else { Err(WireError::Bound(what)) }
}
