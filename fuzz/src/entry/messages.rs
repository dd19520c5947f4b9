//! Bytes to messages, for each direction of each link.

use std::fmt::Debug;

use fdbroker_broker::audit_link::BrokerToAuditor;
use fdbroker_broker::dispatch_link::{BrokerToDispatcher, DispatcherToBroker};
use fdbroker_broker::reader_link::ReaderToDispatcher;
use fdbroker_broker::record_link::{AuditorToOpener, OpenerToAuditor};
use fdbroker_broker::root::settings::Settings;
use fdbroker_common::admin_link::{AdminReply, AdminRequest};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient};
use fdbroker_common::job_link::{OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::{DispatcherToOpener, OpenerToDispatcher};
use fdbroker_common::limits::{DESCRIPTORS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX};
use fdbroker_common::opener_link::{BrokerToOpener, OpenerToBroker};
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};
use fdbroker_common::wire::{Message, WireError, decode, encode};

use super::bounds::Bounds;

/// What holds for any bytes, taken for a message of this direction.
fn judge<M: Message + Bounds + Debug + PartialEq>(data: &[u8]) {
    // A channel reads no more.
    let data = data.get(..MESSAGE_BYTES_MAX).unwrap_or(data);
    let Ok(message) = decode::<M>(data) else {
        return;
    };
    message.assert_within();
    let descriptors = message.descriptors();
    assert!(descriptors <= M::DESCRIPTORS_MAX && descriptors <= DESCRIPTORS_PER_MESSAGE_MAX);
    let mut bytes = Vec::new();
    encode(&message, &mut bytes).expect("what was decoded can be encoded");
    assert!(bytes.len() <= data.len(), "an encoder writes the shortest form");
    assert_eq!(decode::<M>(&bytes).as_ref(), Ok(&message));
    // Nothing may be missing at the end, and nothing may follow.
    assert!(decode::<M>(&data[..data.len() - 1]).is_err());
    let longer = [data, &[0]].concat();
    assert_eq!(decode::<M>(&longer), Err(WireError::Trailing(1)));
}

/// A client says something to its opener.
pub fn client_to_opener(data: &[u8]) {
    judge::<ClientToOpener>(data);
}

/// An opener says something to its client.
pub fn opener_to_client(data: &[u8]) {
    judge::<OpenerToClient>(data);
}

/// An opener says something to a worker.
pub fn opener_to_worker(data: &[u8]) {
    judge::<OpenerToWorker>(data);
}

/// A worker says something to its opener.
pub fn worker_to_opener(data: &[u8]) {
    judge::<WorkerToOpener>(data);
}

/// An opener says something to the auditor.
pub fn opener_to_auditor(data: &[u8]) {
    judge::<OpenerToAuditor>(data);
}

/// An opener says something to the broker.
pub fn opener_to_broker(data: &[u8]) {
    judge::<OpenerToBroker>(data);
}

/// An opener says something to the dispatcher.
pub fn opener_to_dispatcher(data: &[u8]) {
    judge::<OpenerToDispatcher>(data);
}

/// A supervisor says something to the dispatcher.
pub fn supervisor_to_dispatcher(data: &[u8]) {
    judge::<SupervisorToBroker>(data);
}

/// A template says something to the dispatcher.
pub fn template_to_dispatcher(data: &[u8]) {
    judge::<TemplateToBroker>(data);
}

/// A rule reader says something to the dispatcher.
pub fn reader_to_dispatcher(data: &[u8]) {
    judge::<ReaderToDispatcher>(data);
}

/// A configuration reader says something to the broker, which is root.
pub fn configuration_to_broker(data: &[u8]) {
    judge::<Settings>(data);
}

/// An administrator says something to the dispatcher.
pub fn admin_to_dispatcher(data: &[u8]) {
    judge::<AdminRequest>(data);
}

/// Whoever has more rights says something to whoever has fewer, on any of the other links.
pub fn from_above(data: &[u8]) {
    match data.get(1) {
        Some(&BrokerToOpener::TAG) => judge::<BrokerToOpener>(data),
        Some(&DispatcherToOpener::TAG) => judge::<DispatcherToOpener>(data),
        Some(&BrokerToSupervisor::TAG) => judge::<BrokerToSupervisor>(data),
        Some(&BrokerToTemplate::TAG) => judge::<BrokerToTemplate>(data),
        Some(&AdminReply::TAG) => judge::<AdminReply>(data),
        Some(&BrokerToDispatcher::TAG) => judge::<BrokerToDispatcher>(data),
        Some(&BrokerToAuditor::TAG) => judge::<BrokerToAuditor>(data),
        Some(&AuditorToOpener::TAG) => judge::<AuditorToOpener>(data),
        Some(&DispatcherToBroker::TAG) => judge::<DispatcherToBroker>(data),
        _ => {}
    }
}
