//! Whatever a user may point `fdscan` at has an outcome of its own, and nobody else notices.
//!
//! Real executables, as root's broker with an ordinary user as its client; without root, as that
//! user's own broker.

mod absent;
mod changes;
mod deep;
mod exits;
mod gone;
mod kinds;
mod names;
mod options;
mod reload;
mod rules;
mod sizes;
mod slow;
mod stage;
mod streams;
mod targets;
mod workers;
