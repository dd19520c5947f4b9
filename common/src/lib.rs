//! What every fdbroker process shares: the protocol of each link, its limits, and descriptor passing.
//!
//! Linked into all executables, so it runs with every privilege and holds none: it opens no path
//! (but for [`client`], which only programs of users call), changes no identity and starts no
//! process. A link is one Unix `SOCK_SEQPACKET` connection between two roles; each direction has its
//! own message type ([`wire::Message`]), so the verbs of one link cannot be said on another.
//!
//! | link | module | between |
//! |---|---|---|
//! | client | [`client_link`] | `fdscan` (or any user of [`client`]) and the opener |
//! | opener | [`opener_link`] | broker and opener |
//! | lease | [`lease_link`] | dispatcher and opener |
//! | job | [`job_link`] | opener and worker |
//! | scanner | [`scanner_link`] | dispatcher, scanner supervisor and template |
//! | admin | [`admin_link`] | `fdbrokerctl` and dispatcher |
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod admin_link;
pub mod channel;
pub mod client;
pub mod client_link;
pub mod details;
pub mod eagerness;
pub mod escape;
pub mod explanation;
pub mod fdpass;
pub mod generation;
pub mod histogram;
pub mod inherited;
pub mod job_link;
pub mod lease_link;
pub mod limits;
pub mod opener_link;
pub mod outcome;
pub mod paths;
pub mod probe;
pub mod refusal;
pub mod rule_table;
pub mod scanner_link;
pub mod stamp;
pub mod stdio;
pub mod totals;
pub mod wire;
