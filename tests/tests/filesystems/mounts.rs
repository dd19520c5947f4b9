//! Files of procfs and sysfs under ordinary names, by bind mounts: never opened, whatever lies beside them.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::{Caller, Watch, files, require_root, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::stage::{FOUND, NEEDLE, Stage, expected, outcomes};

const PSEUDO: &str = "pseudo file system SKIPPED";

/// Mounts that are gone after the test, the last one first.
#[derive(Default)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn bind(&mut self, from: &Path, on: &Path) {
        let none: Option<&str> = None;
        mount(Some(from), on, none, MsFlags::MS_BIND, none).expect("bind mount");
        self.0.push(on.to_owned());
    }

    /// A new file system in memory: of many files there it costs little to make them and to be rid of them.
    pub fn memory(&mut self, on: &Path) {
        fs::create_dir(on).expect("mkdir");
        mount(Some("fdbroker-test"), on, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .expect("tmpfs");
        self.0.push(on.to_owned());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for on in self.0.iter().rev() {
            if let Err(error) = umount2(on, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                eprintln!("{} was not unmounted: {error}", on.display());
            }
        }
    }
}

/// Files of the kernel of which it matters if somebody reads them, and that nobody else reads all the time.
/// To read the first one takes messages away from whom they are for.
const FILES: [(&str, &str); 4] = [
    ("kmsg", "/proc/kmsg"),
    ("uuid", "/proc/sys/kernel/random/uuid"),
    ("state", "/sys/power/state"),
    ("seqnum", "/sys/kernel/uevent_seqnum"),
];

/// An ordinary directory with the kernel's files among ordinary ones.
fn fill(tree: &Path, mounts: &mut Mounts) {
    files::write(&tree.join("a"), b"hay");
    files::write(&tree.join("sub/found"), NEEDLE);
    files::write(&tree.join("zz"), b"hay");
    for (name, file) in FILES {
        for directory in ["", "sub"] {
            let on = tree.join(directory).join(name);
            files::write(&on, b"hay");
            mounts.bind(Path::new(file), &on);
        }
    }
    for (name, directory) in [("sysctl", "/proc/sys/vm"), ("kernel", "/sys/kernel/mm")] {
        fs::create_dir(tree.join(name)).expect("mkdir");
        mounts.bind(Path::new(directory), &tree.join(name));
    }
}

#[test]
fn files_of_the_kernel_are_never_opened_under_whatever_name() {
    require_root!();
    if let Some((_, file)) = FILES.iter().find(|(_, file)| !Path::new(file).exists()) {
        skip!("{file} does not exist");
    }
    let stage = Stage::new();
    let mut mounts = Mounts::default();
    // A file system on a device, and one that has a number of its own like those of the kernel.
    let trees = [stage.path("plain"), stage.path("memory")];
    fs::create_dir(&trees[0]).expect("mkdir");
    mounts.memory(&trees[1]);
    for tree in &trees {
        fill(tree, &mut mounts);
    }
    let mut all = vec![("a", "OK"), ("zz", "OK"), ("sub/found", FOUND)];
    all.extend([("sysctl", PSEUDO), ("kernel", PSEUDO)]);
    let names: Vec<String> = FILES.iter().map(|(name, _)| format!("sub/{name}")).collect();
    all.extend(
        FILES
            .iter()
            .map(|(name, _)| *name)
            .chain(names.iter().map(String::as_str))
            .map(|name| (name, PSEUDO)),
    );

    let watch = Watch::on(FILES.iter().map(|(_, file)| file));
    for caller in [Caller::user(2000), Caller::root()] {
        for tree in &trees {
            let output = stage.env.fdscan(&caller, ["--no-summary".as_ref(), tree.as_path()]);
            assert_eq!(outcomes(&output, tree), expected(&all), "{output}");
            assert_eq!(output.code, Some(1));
        }
        // Named, between files of an ordinary file system.
        let [plain, memory] = &trees;
        let paths = [plain.join("a"), plain.join("kmsg"), memory.join("a"), memory.join("uuid")];
        let output = stage.env.fdscan(&caller, ["--no-summary".into()].iter().chain(&paths));
        let found = outcomes(&output, stage.env.dir());
        let told = [
            ("plain/a", "OK"),
            ("plain/kmsg", PSEUDO),
            ("memory/a", "OK"),
            ("memory/uuid", PSEUDO),
        ];
        assert_eq!(found, expected(&told), "{output}");
    }
    assert_eq!(watch.events(), Vec::<String>::new(), "a file of the kernel was opened");
    // By the mount, too, the watch sees it.
    drop(fs::File::open(trees[1].join("sub/seqnum")).expect("open"));
    assert!(!watch.events().is_empty());
    stage.comes_to_rest();
}

#[test]
fn a_directory_that_is_mounted_below_itself_is_walked_once() {
    require_root!();
    let stage = Stage::new();
    let _ = stage.env.file("t/a/b/found", NEEDLE);
    let mut mounts = Mounts::default();
    for (from, on) in [("t", "t/a/b/whole"), ("t/a", "t/a/part"), ("t/a/b", "t/other")] {
        fs::create_dir(stage.path(on)).expect("mkdir");
        mounts.bind(&stage.path(from), &stage.path(on));
    }
    let output = stage.env.fdscan(&Caller::user(2000), ["--no-summary".into(), stage.path("t")]);
    let round = "directory loop SKIPPED";
    let all = expected(&[
        ("a/b/found", FOUND),
        ("a/b/whole", round),
        ("a/part", round),
        // Not a loop: another way to the same directory. What was mounted below it is not below this.
        ("other/found", FOUND),
    ]);
    assert_eq!(outcomes(&output, &stage.path("t")), all, "{output}");
    stage.comes_to_rest();
}
