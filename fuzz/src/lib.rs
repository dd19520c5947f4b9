//! What the fuzz targets call. `broker/tests/fuzzing` includes the same module, so that `make test` replays
//! every seed through the functions that are fuzzed.
#![forbid(unsafe_code)]

pub mod entry;
