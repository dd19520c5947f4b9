//! One directory read piece by piece: getdents64 fills a chunk, the walk consumes it name by name.
//!
//! Runs in the opener with the caller's identity. Holds one chunk, never a whole directory, so memory
//! does not grow with the number of files. The type that an entry claims is a hint and decides
//! nothing about access.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

/// Room for one chunk: some thousand short names, at least a hundred of the longest.
const CHUNK_BYTES: usize = 32 * 1024;

/// Emptied listings that are kept for the next directories.
const SPARE_LISTINGS_MAX: usize = 8;

/// Names that were read and not yet consumed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    names: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
    exhausted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    end: usize,
    kind: FileType,
    cookie: u64,
    inode: u64,
}

/// One name of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    /// Never `.` or `..`, never empty.
    pub(super) name: &'a [u8],
    /// What the directory says that it is.
    pub(super) hint: FileType,
    /// For lseek(2) on the directory: where the next entry begins, or one before it.
    pub(super) cookie: u64,
}

/// The buffer that the kernel writes to, and emptied listings for reuse.
#[derive(Debug, Default)]
pub(super) struct Lister {
    buffer: Vec<u8>,
    spare: Vec<Listing>,
}

impl Listing {
    /// A listing that has nothing more to tell.
    pub(super) fn ended() -> Self {
        Self { exhausted: true, ..Self::default() }
    }

    /// The next name of this chunk.
    pub(super) fn take(&mut self) -> Option<Listed<'_>> {
        let entry = self.entries.get(self.next)?;
        let name = self.names.get(entry.start..entry.end)?;
        self.next += 1;
        Some(Listed { name, hint: entry.kind, cookie: entry.cookie })
    }

    /// Whether the kernel has said that there is no more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Consumes the rest unseen.
    pub(super) fn give_up(&mut self) {
        self.clear();
        self.exhausted = true;
    }

    /// Puts files in the order of their inodes, in which a disk finds them with fewer detours. `from`: where
    /// the first of them began. A directory may be left in the middle, and come back to by a cookie, so
    /// the order stays where there is one. Should a file be one by now, and so deep that this one is closed
    /// meanwhile, it comes back to the first: files are then told twice, but none is left out.
    fn order(&mut self, from: u64) {
        let Some(end) = self.entries.last().map(|entry| entry.cookie) else {
            return;
        };
        if self.entries.iter().any(|entry| entry.kind != FileType::RegularFile) {
            return;
        }
        self.entries.sort_unstable_by_key(|entry| entry.inode);
        self.entries.iter_mut().for_each(|entry| entry.cookie = from);
        if let Some(last) = self.entries.last_mut() {
            last.cookie = end;
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
        self.next = 0;
        self.exhausted = false;
    }
}

impl Lister {
    /// An empty listing.
    pub(super) fn fresh(&mut self) -> Listing {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a listing back that is no longer needed.
    pub(super) fn recycle(&mut self, mut listing: Listing) {
        if self.spare.len() < SPARE_LISTINGS_MAX {
            listing.clear();
            self.spare.push(listing);
        }
    }

    /// Reads the next chunk of a directory, which begins at the cookie `from`, into its listing, whose
    /// names were all taken.
    ///
    /// # Errors
    /// As getdents64(2).
    pub(super) fn read(
        &mut self,
        directory: BorrowedFd<'_>,
        from: u64,
        listing: &mut Listing,
    ) -> Result<(), Errno> {
        let result = self.fill(directory, listing);
        listing.order(from);
        result
    }

    fn fill(&mut self, directory: BorrowedFd<'_>, listing: &mut Listing) -> Result<(), Errno> {
        listing.clear();
        self.buffer.clear();
        self.buffer.reserve_exact(CHUNK_BYTES);
        let mut entries = RawDir::new(directory, self.buffer.spare_capacity_mut());
        loop {
            match entries.next() {
                None => {
                    listing.exhausted = true;
                    return Ok(());
                }
                Some(Err(Errno::INTR)) => continue,
                Some(Err(errno)) => return Err(errno),
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        let start = listing.names.len();
                        listing.names.extend_from_slice(name);
                        listing.entries.push(Entry {
                            start,
                            end: listing.names.len(),
                            kind: entry.file_type(),
                            cookie: entry.next_entry_cookie(),
                            inode: entry.ino(),
                        });
                    }
                }
            }
            // The next call would read on; what was read is consumed first.
            if entries.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::fs::FileType;

    use super::{Entry, Lister, Listing};

    #[test]
    fn every_name_is_told_once_and_dots_are_not() {
        let scratch = std::env::temp_dir().join(format!("fdbroker-listing-{}", std::process::id()));
        std::fs::create_dir(&scratch).unwrap();
        for number in 0..3000 {
            File::create(scratch.join(format!("{number:0>200}"))).unwrap();
        }
        let directory = File::open(&scratch).unwrap();
        let (mut lister, mut listing) = (Lister::default(), Listing::default());
        let (mut chunks, mut names, mut cookie) = (0, Vec::new(), 0);
        while !listing.is_exhausted() {
            lister.read(directory.as_fd(), cookie, &mut listing).unwrap();
            chunks += 1;
            while let Some(entry) = listing.take() {
                cookie = entry.cookie;
                names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            }
        }
        std::fs::remove_dir_all(&scratch).unwrap();
        names.sort();
        let wanted: Vec<String> = (0..3000).map(|number| format!("{number:0>200}")).collect();
        assert_eq!(names, wanted);
        assert!(chunks > 10, "read in chunks: {chunks}");
    }

    fn entry(kind: FileType, inode: u64, cookie: u64) -> Entry {
        Entry { start: 0, end: 0, kind, cookie, inode }
    }

    fn ordered(entries: Vec<Entry>) -> Vec<(u64, u64)> {
        let mut listing = Listing { entries, ..Listing::default() };
        listing.order(5);
        listing.entries.iter().map(|entry| (entry.inode, entry.cookie)).collect()
    }

    #[test]
    fn files_come_by_inode_and_the_last_one_leads_on() {
        let file = |inode, cookie| entry(FileType::RegularFile, inode, cookie);
        let files = vec![file(30, 6), file(10, 7), file(20, 8)];
        assert_eq!(ordered(files), [(10, 5), (20, 5), (30, 8)]);
    }

    #[test]
    fn what_may_have_to_be_resumed_keeps_its_order() {
        for kind in [FileType::Directory, FileType::Symlink, FileType::Unknown] {
            let entries = vec![entry(FileType::RegularFile, 30, 6), entry(kind, 10, 7)];
            assert_eq!(ordered(entries), [(30, 6), (10, 7)], "{kind:?}");
        }
    }

    #[test]
    fn an_ended_listing_has_nothing() {
        let mut listing = Listing::ended();
        assert!(listing.is_exhausted());
        assert!(listing.take().is_none());
    }
}
