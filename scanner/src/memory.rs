//! How the allocator and the kernel back memory: huge pages for a large file, nothing for what is free.
//!
//! Runs in template and worker. The unsafe calls of both; they change how memory is backed, never what is in it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Smaller memory is used again and again, so its pages are there after the first file.
const WORTH_BYTES: usize = 4 * 1024 * 1024;
/// A multiple of any page size.
const ALIGNMENT: usize = 64 * 1024;

/// Asks for huge pages for memory that is not used yet. Nothing depends on whether they come.
pub fn prefer_huge_pages(memory: &mut Vec<u8>) {
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

/// Gives free memory back, after much of it was used once. Every process that is forked would share it.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread; it touches free memory only.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_its_contents_and_can_be_used() {
        let mut memory = Vec::with_capacity(16 * 1024 * 1024);
        memory.extend_from_slice(b"before");
        prefer_huge_pages(&mut memory);
        memory.resize(16 * 1024 * 1024, 7);
        assert!(memory.starts_with(b"before"));
        assert!(memory[6..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn little_memory_is_left_alone() {
        prefer_huge_pages(&mut Vec::new());
        prefer_huge_pages(&mut Vec::with_capacity(WORTH_BYTES - 1));
    }
}
