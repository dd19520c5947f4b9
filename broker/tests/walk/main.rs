//! What the opener's walk finds, opens and refuses, on real trees.
//!
//! Runs as whoever runs the tests; parts that need root say so and are skipped without it, parts
//! that need an ordinary user run again as one when root runs them.

mod kinds;
mod mounts;
mod rights;
mod support;
mod targets;
mod tree;
