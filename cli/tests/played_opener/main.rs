//! `fdscan` and `fdbrokerctl` as processes, against an opener that a thread plays.
//!
//! Needs no privilege, no broker and no scanner.

mod ctl;
mod fake;
mod input;
mod output;
mod resume;
