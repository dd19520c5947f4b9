//! File systems that do not answer, lie or are not what they seem, and trees that change while they are
//! walked: one scan may suffer from them, no other one, and nothing outside of the tree is ever read.

mod fuse;
mod kinds;
mod mounts;
mod oracle;
mod races;
mod silent;
mod sizes;
mod stage;
mod stuck;
