//! An engine that misbehaves in its sealed worker costs the file that made it do so, and a worker:
//! nobody else's verdict, and never a false "clean".
//!
//! The scanner is `fdscand` with an engine that does what files ask it to.

mod callers;
mod fairness;
mod kinds;
mod memory;
mod stage;
mod stuck;
