//! A scanner that somebody else has taken over, and that breaks the protocol in every way: broker, dispatcher
//! and openers outlive it, no file is called clean that was not judged so, no descriptor stays, and the next
//! scanner serves.
//!
//! The scanner is a double without engine (`tests/src/bin/captured-scanner`). What a captured scanner can do
//! within the protocol, as to forge verdicts, docs/privileges.md tells.

mod evidence;
mod stage;
mod template;
mod worker;

mod supervisor;
