//! What a user sees of `fdscan` on a terminal: progress, colours, and the end by Ctrl-C.
//!
//! Real executables on a real pseudo-terminal, as root's broker with an ordinary user as its client;
//! without root, as that user's own broker.

mod choices;
mod interrupts;
mod progress;
mod stage;
