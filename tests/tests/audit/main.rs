//! Records: who asked for what, and what came of it. No stranger's byte forges one, no user keeps one from
//! being written unnoticed, and scans go on when none can be written.

mod flood;
mod forge;
mod played;
mod sinks;
mod stage;
mod who;
