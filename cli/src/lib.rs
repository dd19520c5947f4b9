//! `fdscan` and `fdbrokerctl`: what a user types and what a user reads.
//!
//! Runs with the rights of whoever starts it and needs no others. It opens paths only with `O_PATH`,
//! reads nothing but standard input, pipes and lists of names, and judges nothing itself.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod args;
pub mod broker;
pub mod ctl;
mod eicar;
mod names;
pub mod output;
pub mod run;
pub mod signals;
pub mod targets;
