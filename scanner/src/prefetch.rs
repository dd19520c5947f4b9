//! Has the kernel read the files of a batch ahead when they are not in the page cache, so that the disk
//! has many to do at once instead of one.
//!
//! Runs in a worker. A hint reads nothing into this process, and one that is refused changes nothing. How long
//! reads and hints take tells whether files are cached; while they are, there are no hints.

use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_common::job_link::Job;
use rustix::fs::{Advice, fadvise};

/// A small file that takes longer was not in the cache.
const READ_TIME: Duration = Duration::from_micros(30);
const SMALL_BYTES: u64 = 64 * 1024;
/// A hint for a file that is in the cache takes less.
const HINT_TIME: Duration = Duration::from_micros(3);
/// The kernel reads what follows ahead by itself, once it is read.
const BYTES_MAX: u64 = 256 * 1024;

/// Whether hints are of use now.
#[derive(Debug, Default)]
pub struct Prefetch {
    useful: bool,
}

impl Prefetch {
    /// A batch has come.
    pub fn begin(&mut self, jobs: &[Job], files: &[OwnedFd]) {
        if self.useful {
            self.hint(jobs, files);
        }
    }

    /// A file of this size took so long to read; these of its batch are left.
    pub fn read(&mut self, (size, took): (u64, Duration), jobs: &[Job], files: &[OwnedFd]) {
        if !self.useful && size <= SMALL_BYTES && took > READ_TIME {
            self.hint(jobs, files);
        }
    }

    /// Goes on with hints as long as every fourth has something to do.
    fn hint(&mut self, jobs: &[Job], files: &[OwnedFd]) {
        let mut begun = Instant::now();
        let mut useful = 0_usize;
        for (job, file) in jobs.iter().zip(files) {
            let Some(bytes) = NonZeroU64::new(job.stamp.size.min(BYTES_MAX)) else {
                continue;
            };
            // What the descriptor is, is looked at before it is read; a hint for anything else fails.
            let _ = fadvise(file, 0, Some(bytes), Advice::WillNeed);
            let now = Instant::now();
            useful += usize::from(now.saturating_duration_since(begun) > HINT_TIME);
            begun = now;
        }
        self.useful = useful.saturating_mul(4) > jobs.len();
    }
}
