//! Resource limits.
//!
//! Set by each process on itself, soft and hard. The limit on memory is that on data. That on address
//! space is far above it, because the engine reserves more than it uses: it bounds what the kernel
//! needs to map, which no other limit counts.

use fdbroker_common::limits::FILE_BYTES_MAX;
use nix::sys::resource::{Resource, setrlimit};

use super::SealError;

/// A batch of descriptors, with room for what a worker holds anyway.
const WORKER_DESCRIPTORS_MAX: u64 = 300;

/// The largest file, and a gibibyte for rules and engine.
const WORKER_DATA_BYTES_MAX: u64 = FILE_BYTES_MAX + 1024 * 1024 * 1024;

/// Page tables for this much take 128 MiB, and the engine reserves less.
const WORKER_ADDRESS_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// The stack grows outside of the limit on data.
const WORKER_STACK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Limits of a template. None on file sizes: the log may be a file.
///
/// # Errors
/// As setrlimit(2).
pub fn template() -> Result<(), SealError> {
    limit(Resource::RLIMIT_CORE, 0, "limit on core dumps")?;
    limit(Resource::RLIMIT_MEMLOCK, 0, "limit on locked memory")
}

/// Limits of a worker, in addition to those of its template.
///
/// # Errors
/// As setrlimit(2).
pub fn worker() -> Result<(), SealError> {
    limit(Resource::RLIMIT_FSIZE, 0, "limit on file sizes")?;
    limit(Resource::RLIMIT_NOFILE, WORKER_DESCRIPTORS_MAX, "limit on descriptors")?;
    limit(Resource::RLIMIT_NPROC, 0, "limit on processes")?;
    limit(Resource::RLIMIT_MSGQUEUE, 0, "limit on message queues")?;
    limit(Resource::RLIMIT_STACK, WORKER_STACK_BYTES_MAX, "limit on the stack")?;
    limit(Resource::RLIMIT_AS, WORKER_ADDRESS_BYTES_MAX, "limit on addresses")?;
    limit(Resource::RLIMIT_DATA, WORKER_DATA_BYTES_MAX, "limit on memory")
}

fn limit(resource: Resource, value: u64, what: &'static str) -> Result<(), SealError> {
    // A hard limit below ours stays: only root may raise one.
    let (_, hard) =
        nix::sys::resource::getrlimit(resource).map_err(|error| SealError::System(what, error))?;
    let value = value.min(hard);
    setrlimit(resource, value, value).map_err(|error| SealError::System(what, error))
}
