//! What the decoders of all links promise for bytes from anybody: a message or an error, nothing else.

use fdbroker_common::admin_link::{AdminReply, AdminRequest};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, ScanOptions, Target};
use fdbroker_common::job_link::{Job, OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::{DispatcherToOpener, OpenerToDispatcher};
use fdbroker_common::limits::{
    BATCH_FILES_MAX, EXCLUDES_MAX, MESSAGE_BYTES_MAX, PATH_BYTES_MAX, PROTOCOL_VERSION,
    TARGETS_PER_MESSAGE_MAX,
};
use fdbroker_common::opener_link::{BrokerToOpener, Identity, Limits, OpenerToBroker};
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::stamp::Stamp;
use fdbroker_common::wire::{Message, WireError, decode, encode};
use proptest::prelude::*;

fn bytes<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut buffer = Vec::new();
    encode(message, &mut buffer).map(|()| buffer)
}

/// Decodes as one type. What decodes must encode again, within every bound.
fn judge<M: Message>(input: &[u8]) -> bool {
    match decode::<M>(input) {
        Ok(message) => {
            assert!(message.descriptors() <= M::DESCRIPTORS_MAX);
            assert_eq!(message.check(), Ok(()));
            assert!(bytes(&message).is_ok());
            true
        }
        Err(_) => false,
    }
}

/// Decodes as every type there is; tells how many took it.
fn judge_all(input: &[u8]) -> usize {
    [
        judge::<ClientToOpener>(input),
        judge::<OpenerToClient>(input),
        judge::<OpenerToWorker>(input),
        judge::<WorkerToOpener>(input),
        judge::<BrokerToOpener>(input),
        judge::<OpenerToBroker>(input),
        judge::<DispatcherToOpener>(input),
        judge::<OpenerToDispatcher>(input),
        judge::<BrokerToSupervisor>(input),
        judge::<SupervisorToBroker>(input),
        judge::<BrokerToTemplate>(input),
        judge::<TemplateToBroker>(input),
        judge::<AdminRequest>(input),
        judge::<AdminReply>(input),
    ]
    .into_iter()
    .filter(|taken| *taken)
    .count()
}

fn targets(count: usize, name: usize) -> ClientToOpener {
    let target = |id| Target { id, name: vec![b'n'; name].into() };
    ClientToOpener::Targets((0..u32::try_from(count).unwrap()).map(target).collect())
}

fn jobs(count: usize, name: usize) -> OpenerToWorker {
    let stamp = Stamp { size: u64::MAX, modified_ns: i64::MIN, changed_ns: i64::MIN };
    let job = |id| Job {
        id: u32::MAX - id,
        stamp,
        bytes_max: u64::MAX,
        name: (name > 0).then(|| vec![b'n'; name].into()),
    };
    OpenerToWorker::Scan((0..u32::try_from(count).unwrap()).map(job).collect())
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_of_at_most_one_kind(input in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(judge_all(&input) <= 1);
    }

    #[test]
    fn any_body_behind_a_true_header_is_a_message_of_at_most_one_kind(
        tag in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut input = vec![PROTOCOL_VERSION, tag];
        input.extend(body);
        prop_assert!(judge_all(&input) <= 1);
    }

    #[test]
    fn a_damaged_message_never_does_more_than_fail(
        count in 1..TARGETS_PER_MESSAGE_MAX,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut input = bytes(&targets(count, 20)).unwrap();
        let at = at.index(input.len());
        input[at] = value;
        judge_all(&input);
        input.truncate(at);
        prop_assert_eq!(judge_all(&input), 0, "a cut message");
    }

    #[test]
    fn what_is_encoded_is_decoded(count in 1..=TARGETS_PER_MESSAGE_MAX, name in 0..200_usize) {
        let message = targets(count, name);
        prop_assert_eq!(decode::<ClientToOpener>(&bytes(&message).unwrap()), Ok(message));
        let message = jobs(count.min(BATCH_FILES_MAX), name);
        prop_assert_eq!(decode::<OpenerToWorker>(&bytes(&message).unwrap()), Ok(message));
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut input = bytes(&ClientToOpener::End).unwrap();
    input.push(0);
    assert_eq!(decode::<ClientToOpener>(&input), Err(WireError::Trailing(1)));
}

#[test]
fn another_version_is_named() {
    let mut input = bytes(&AdminRequest::Status).unwrap();
    input[0] = PROTOCOL_VERSION + 1;
    assert_eq!(decode::<AdminRequest>(&input), Err(WireError::Version(PROTOCOL_VERSION + 1)));
    assert_eq!(decode::<AdminRequest>(&[]), Err(WireError::Short));
    assert_eq!(decode::<AdminRequest>(&[PROTOCOL_VERSION]), Err(WireError::Short));
}

#[test]
fn the_verbs_of_one_link_cannot_be_said_on_another() {
    let input = bytes(&OpenerToDispatcher::Want(1)).unwrap();
    assert!(matches!(decode::<OpenerToBroker>(&input), Err(WireError::Tag { .. })));
    assert!(matches!(decode::<DispatcherToOpener>(&input), Err(WireError::Tag { .. })));
    assert_eq!(judge_all(&input), 1);
}

#[test]
fn an_unknown_verb_is_refused() {
    for tag in [ClientToOpener::TAG, OpenerToBroker::TAG, AdminRequest::TAG] {
        assert_eq!(judge_all(&[PROTOCOL_VERSION, tag, 99]), 0);
    }
}

#[test]
fn every_bound_holds_on_both_sides() {
    let beyond = [
        targets(0, 1),
        targets(TARGETS_PER_MESSAGE_MAX + 1, 1),
        targets(1, PATH_BYTES_MAX + 1),
        targets(2, PATH_BYTES_MAX),
        ClientToOpener::Start(ScanOptions {
            excludes: vec![b"*.iso".to_vec().into(); EXCLUDES_MAX + 1],
            ..ScanOptions::default()
        }),
    ];
    for message in &beyond {
        assert!(bytes(message).is_err());
        let mut raw = vec![PROTOCOL_VERSION, ClientToOpener::TAG];
        raw = postcard::to_extend(message, raw).unwrap();
        // The last but one breaks only the size of a message, which the socket's buffer refuses.
        assert!(decode::<ClientToOpener>(&raw).is_err() || raw.len() > MESSAGE_BYTES_MAX);
    }
    let root = Identity::Caller { uid: 0, gid: 0 };
    let limits = Limits::default();
    for identity in [root, Identity::ReadAll { uid: 0 }, Identity::Granted { uid: 0 }] {
        assert!(bytes(&BrokerToOpener::Become { identity, scanner_uid: 1, limits }).is_err());
    }
    assert!(bytes(&BrokerToOpener::Groups(Vec::new())).is_err());
}

#[test]
fn the_largest_batch_without_names_fits_a_message() {
    assert!(bytes(&jobs(BATCH_FILES_MAX, 0)).unwrap().len() < MESSAGE_BYTES_MAX);
    // With names the opener cuts batches by their length; one name of any length fits.
    assert!(bytes(&jobs(1, PATH_BYTES_MAX)).unwrap().len() < MESSAGE_BYTES_MAX);
}
