//! Huge pages for the memory of a large file: most of the time that it took to read one went into single pages.
//!
//! Runs in a worker. The one unsafe call of reading; it changes how memory is backed, never what is in it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Smaller memory is used again and again, so its pages are there after the first file.
const WORTH_BYTES: usize = 4 * 1024 * 1024;
/// A multiple of any page size.
const ALIGNMENT: usize = 64 * 1024;

/// Asks for huge pages for memory that is not used yet. Nothing depends on whether they come.
pub fn prefer(memory: &mut Vec<u8>) {
    let spare = memory.spare_capacity_mut();
    if spare.len() < WORTH_BYTES {
        return;
    }
    let skipped = spare.as_ptr().align_offset(ALIGNMENT);
    let Some(inner) = spare.get_mut(skipped..) else {
        return;
    };
    let length = inner.len() - inner.len() % ALIGNMENT;
    let start = NonNull::from(inner).cast::<c_void>();
    // SAFETY: start and length lie within spare memory of `memory`, which is borrowed here, and
    // MADV_HUGEPAGE neither changes nor unmaps any of it. A refusal is without consequence.
    let _ = unsafe { madvise(start, length, MmapAdvise::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_its_contents_and_can_be_used() {
        let mut memory = Vec::with_capacity(16 * 1024 * 1024);
        memory.extend_from_slice(b"before");
        prefer(&mut memory);
        memory.resize(16 * 1024 * 1024, 7);
        assert!(memory.starts_with(b"before"));
        assert!(memory[6..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn little_memory_is_left_alone() {
        prefer(&mut Vec::new());
        prefer(&mut Vec::with_capacity(WORTH_BYTES - 1));
    }
}
