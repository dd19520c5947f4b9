//! What a hostile peer may say: nonsense on any link, and the right thing at the wrong time.

use fdbroker_common::client_link::{ClientToOpener, ScanOptions, Target};
use fdbroker_common::limits::{DESCRIPTORS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX, PROTOCOL_VERSION};
use fdbroker_common::wire::{self, Message};

/// Packets in order, each with so many descriptors.
pub struct Attack {
    pub what: String,
    pub packets: Vec<(Vec<u8>, usize)>,
}

pub fn attack(what: &str, packets: Vec<(Vec<u8>, usize)>) -> Attack {
    Attack { what: what.to_owned(), packets }
}

/// Bytes that are the same in each run.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(byte).collect()
}

/// A header of a link, then noise.
fn noise_body(tag: u8, seed: u64, length: usize) -> Vec<u8> {
    [vec![PROTOCOL_VERSION, tag], noise(seed, length)].concat()
}

pub fn message(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).expect("a message");
    bytes
}

/// What no link understands; `good` is a message that this one does.
pub fn nonsense<M: Message>(good: &M) -> Vec<Attack> {
    let mut attacks: Vec<Attack> = [1, 2, 3, 100, MESSAGE_BYTES_MAX, 100_000]
        .map(|length| attack(&format!("{length} bytes of noise"), vec![(noise(7, length), 0)]))
        .into();
    for version in [0, PROTOCOL_VERSION + 1, 255] {
        let mut bytes = message(good);
        bytes[0] = version;
        attacks.push(attack(&format!("version {version}"), vec![(bytes, good.descriptors())]));
    }
    for tag in (0x10_u8..0x70).filter(|tag| *tag != M::TAG) {
        let mut bytes = message(good);
        bytes[1] = tag;
        attacks.push(attack(&format!("tag {tag:#x}"), vec![(bytes, good.descriptors())]));
    }
    for seed in 0..40 {
        // An unknown verb first, so that no noise happens to be a message.
        let mut bytes = noise_body(M::TAG, seed, 50);
        bytes[2] |= 0x70;
        attacks.push(attack(&format!("noise {seed} behind a header"), vec![(bytes, 0)]));
    }
    let trailing = [message(good), vec![0]].concat();
    let room = DESCRIPTORS_PER_MESSAGE_MAX;
    attacks.extend([
        attack("nothing behind a header", vec![(vec![PROTOCOL_VERSION, M::TAG], 0)]),
        attack("a byte too many", vec![(trailing, good.descriptors())]),
        attack("noise with a descriptor", vec![(noise(1, 100), 1)]),
        attack("noise with all descriptors", vec![(noise(1, 100), room)]),
    ]);
    if M::DESCRIPTORS_MAX > 0 {
        attacks.push(attack("a message with all descriptors", vec![(message(good), room)]));
    }
    attacks
}

/// The right messages in the wrong order or number.
pub fn out_of_turn() -> Vec<Attack> {
    let start = message(&ClientToOpener::Start(ScanOptions::default()));
    let end = message(&ClientToOpener::End);
    let targets = |count: u32| {
        let target = |id| Target { id, name: b"bait".to_vec().into() };
        message(&ClientToOpener::Targets((0..count).map(target).collect()))
    };
    let follow = ScanOptions { follow_links: true, ..ScanOptions::default() };
    let follow = message(&ClientToOpener::Start(follow));
    vec![
        attack("end before start", vec![(end.clone(), 0)]),
        attack("targets before start", vec![(targets(1), 1)]),
        attack("start twice", vec![(start.clone(), 0), (start.clone(), 0)]),
        attack("a target without descriptor", vec![(start.clone(), 0), (targets(1), 0)]),
        attack("a target with two descriptors", vec![(start.clone(), 0), (targets(1), 2)]),
        attack("64 targets with 63 descriptors", vec![(start.clone(), 0), (targets(64), 63)]),
        attack("a start with a descriptor", vec![(start.clone(), 1)]),
        attack("a start that lacks a descriptor", vec![(follow, 0)]),
        attack("noise in the middle", vec![(start, 0), (targets(2), 2), (noise(3, 64), 0)]),
    ]
}
