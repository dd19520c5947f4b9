//! What is scanned: trees and files with the same contents in each run.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Directories of the tree, and files in each.
pub const DIRECTORIES: usize = 200;
pub const FILES_EACH: usize = 100;
/// Files of the tree.
pub const FILES: usize = DIRECTORIES * FILES_EACH;
/// Size of the large file: the largest that is scanned.
pub const LARGE_BYTES: usize = 2 * 1024 * 1024 * 1024;

/// Numbers without pattern, always the same.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to below this.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Lower-case letters.
    pub fn word(&mut self, letters: usize) -> String {
        (0..letters).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz"[self.below(26)])).collect()
    }
}

/// Text of about 6 KiB: words of a few thousand, like a file that people write.
pub struct Prose(Vec<String>);

impl Prose {
    pub fn new() -> Self {
        let mut numbers = Numbers::new(7);
        Self((0..4000).map(|nth| numbers.word(2 + nth % 9)).collect())
    }

    fn text(&self, seed: u64) -> String {
        let mut numbers = Numbers::new(seed);
        let bytes = 4 * 1024 + numbers.below(4 * 1024);
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            text.push_str(&self.0[numbers.below(self.0.len())]);
            text.push(if numbers.below(12) == 0 { '\n' } else { ' ' });
        }
        text
    }
}

/// Fills a directory that is not there yet.
pub fn small_files(root: &Path, directories: usize, each: usize) {
    let prose = Prose::new();
    fs::create_dir(root).expect("mkdir");
    for directory in 0..directories {
        let path = root.join(format!("{directory:04}"));
        fs::create_dir(&path).expect("mkdir");
        for file in 0..each {
            let seed = u64::try_from(directory * each + file).unwrap_or(0) + 1;
            fs::write(path.join(format!("note-{file:04}.txt")), prose.text(seed)).expect("write");
        }
    }
}

/// Writes the large file.
pub fn large_file(path: &Path) {
    const PIECE: usize = 4 * 1024 * 1024;
    let mut numbers = Numbers::new(3);
    let mut piece = numbers.bytes(PIECE);
    let mut file = File::create(path).expect("create");
    for nth in 0..LARGE_BYTES / PIECE {
        piece[nth % PIECE] ^= 0xff;
        file.write_all(&piece).expect("room for the large file");
    }
    file.sync_all().expect("sync");
}
