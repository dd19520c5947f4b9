//! Names and contents that change all the time, in a tree of its own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::random::Random;

/// A thread that changes a tree until it is dropped.
#[derive(Debug)]
pub struct Churn {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    rests: AtomicBool,
    changes: AtomicU64,
}

impl Churn {
    /// Begins.
    #[must_use]
    pub fn start(tree: &Path, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let (of_thread, tree) = (Arc::clone(&shared), tree.to_path_buf());
        let thread = thread::spawn(move || change(&of_thread, &tree, Random::new(seed)));
        Self { shared, thread: Some(thread) }
    }

    /// Whether it pauses.
    pub fn rest(&self, rests: bool) {
        self.shared.rests.store(rests, Ordering::Relaxed);
    }

    /// How much it has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Relaxed)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn change(shared: &Shared, tree: &Path, mut random: Random) {
    while !shared.ends.load(Ordering::Relaxed) {
        if !shared.rests.load(Ordering::Relaxed) {
            // What is being renamed by one step may not be where the next one looks for it.
            let _ = step(tree, &mut random);
            shared.changes.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Never what a link leads to: that is the secret.
fn open_to_write(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    File::options().write(true).truncate(true).custom_flags(flags).open(path)
}

fn step(tree: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = |random: &mut Random| -> PathBuf {
        let directory = if random.once_in(2) { "x" } else { "y" };
        tree.join(directory).join(format!("{}", random.below(30)))
    };
    let exchange = |one: &Path, other: &Path| {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(std::io::Error::from)
    };
    match random.below(6) {
        0 => exchange(&tree.join("x"), &tree.join("y")),
        1 => exchange(&tree.join("x"), &tree.join("way")),
        2 => exchange(&file(random), &tree.join("x/way")),
        3 => exchange(&file(random), &file(random)),
        4 => open_to_write(&file(random))?.write_all(b"hay again\n"),
        _ => {
            let path = file(random);
            if path.is_symlink() {
                return Ok(());
            }
            fs::write(tree.join("new"), b"hay\n")?;
            fs::rename(tree.join("new"), path)
        }
    }
}
