//! Configuration files: what is in force, every mistake with its place and remedy, files that others could
//! have written, and warnings of grants that give away more than they seem to.

mod files;
mod mistakes;
mod stage;
mod trust;
mod warnings;
