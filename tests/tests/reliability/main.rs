//! Each kind of process is killed with SIGKILL in the middle of load: nothing hangs, each file has its
//! right outcome once or the client a clear error, and nothing is left.
//!
//! See also `recovery/`, and `inputs/gone.rs` and `inputs/workers.rs`, which kill in the middle of one file.

mod broker;
mod processes;
mod rules;
mod stage;
