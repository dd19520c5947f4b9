//! Configuration files: what is in force, every mistake with its place and remedy, files that others could
//! have written, warnings of grants that give away more than they seem to, and why a user may scan or not.

mod explain;
mod files;
mod mistakes;
mod stage;
mod trust;
mod warnings;
