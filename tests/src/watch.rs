//! Who is opened and read, as inotify(7) tells it: evidence that does not depend on any outcome.
//!
//! A watch belongs to the inode, so it sees an access by any name, and through any mount. `O_PATH`
//! descriptors make no event; opening and reading do.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

/// Files and directories that are watched.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches these for being opened or read; of directories, also what is directly in them.
    ///
    /// # Panics
    /// When one cannot be watched.
    #[must_use]
    pub fn on<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
        for path in paths {
            let flags = WatchFlags::OPEN | WatchFlags::ACCESS;
            inotify::add_watch(&watch, path.as_ref(), flags).expect("a watch");
        }
        Self(watch)
    }

    /// What has happened since the last call: the event, and the name in a directory if it was there.
    ///
    /// # Panics
    /// When the kernel had to drop events.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "events were dropped");
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            events.push(format!("{:?} {}", event.events(), name.unwrap_or_default()));
        }
        events
    }
}
