//! What the administrator wants to be recorded of who had what scanned. Data; the broker carries it unread.

pub mod plan;
