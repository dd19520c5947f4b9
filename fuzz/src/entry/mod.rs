//! Entry functions: one for each decoder that sees bytes of another process, and for what is built on it.
//!
//! Each takes any bytes and returns, or panics when something is not as it is promised to be. They
//! need no root and no running fdbroker, and leave nothing behind.

mod bounds;
mod channel;
mod client;
mod messages;
mod records;
pub mod seeds;
mod text;
mod worker;

pub use channel::channel;
pub use client::client_scan;
pub use messages::{
    admin_to_dispatcher, client_to_opener, configuration_to_broker, from_above, opener_to_auditor,
    opener_to_broker, opener_to_client, opener_to_dispatcher, opener_to_worker,
    reader_to_dispatcher, supervisor_to_dispatcher, template_to_dispatcher, worker_to_opener,
};
pub use records::records;
pub use text::{configuration, escaping, excludes, rule_table};
pub use worker::worker_answers;

/// What takes the bytes of one target.
pub type Entry = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Entry)] = &[
    ("admin_to_dispatcher", admin_to_dispatcher),
    ("channel", channel),
    ("client_scan", client_scan),
    ("client_to_opener", client_to_opener),
    ("configuration", configuration),
    ("configuration_to_broker", configuration_to_broker),
    ("escaping", escaping),
    ("excludes", excludes),
    ("from_above", from_above),
    ("opener_to_auditor", opener_to_auditor),
    ("opener_to_broker", opener_to_broker),
    ("opener_to_client", opener_to_client),
    ("opener_to_dispatcher", opener_to_dispatcher),
    ("opener_to_worker", opener_to_worker),
    ("reader_to_dispatcher", reader_to_dispatcher),
    ("records", records),
    ("rule_table", rule_table),
    ("supervisor_to_dispatcher", supervisor_to_dispatcher),
    ("template_to_dispatcher", template_to_dispatcher),
    ("worker_answers", worker_answers),
    ("worker_to_opener", worker_to_opener),
];

/// Packets of a conversation: each with its length before it, as `u16` little endian. Empty ones, which
/// cannot be sent, are left out; a cut one is the last.
fn packets(mut data: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (packet, rest) = rest.split_at(length);
        if !packet.is_empty() {
            packets.push(packet);
        }
        data = rest;
        if packets.len() >= PACKETS_MAX {
            break;
        }
    }
    packets
}

/// Fewer than a socket's queue takes.
const PACKETS_MAX: usize = 8;
