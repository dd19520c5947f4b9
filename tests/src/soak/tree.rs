//! What is scanned, and what each file's outcome must be.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use crate::Env;
use crate::files::{self, EICAR};

/// The rules that the broker has from the beginning.
pub const RULES: [(&str, &str); 3] = [
    ("needle.yar", "rule Needle { strings: $a = \"a needle\" condition: $a }"),
    (
        "slow.yar",
        "rule Slow { strings: $m = \"SLOWSLOW\" condition: $m at 0 and \
         for all i in (1..3000000) : (uint8(i % 8) != 0) and filesize > 1000000000000 }",
    ),
    (
        "endless.yar",
        "rule Endless { strings: $m = \"ENDLESS!\" condition: $m at 0 and \
         for all i in (1..1152921504606846976) : (uint8(i % 8) != 0) and filesize > 1000000000000 }",
    ),
];

/// What a worker of `examples/fdscand-faults` does when it is given such a file. Not among them is what
/// takes long, or takes much of the machine.
const FAULTS: [&str; 18] = [
    "segv",
    "ill",
    "abort",
    "stack",
    "panic",
    "exit-0",
    "exit-1",
    "half-an-answer",
    "answer-and-exit",
    "twice",
    "unknown-job",
    "later-job",
    "ready-again",
    "no-such-rule",
    "garbage",
    "oversized",
    "descriptors",
    "open",
];

/// For how long a scan with a file that takes for ever waits for it.
pub const DEADLINE_S: u32 = 4;

/// What is to become of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this, as `fdscan` writes it.
    This(String),
    /// It ends workers: an error, or what it had its worker say.
    Fault,
    /// It is being changed: whatever is neither a match nor a refusal.
    Harmless,
}

/// Outcomes by path beneath the directory that is scanned.
pub type Table = BTreeMap<String, Expected>;

/// All trees.
#[derive(Debug)]
pub struct Trees {
    /// Of every kind, with nothing that disturbs.
    pub main: PathBuf,
    /// What becomes of it for a user, and for root.
    pub tables: [Table; 2],
    /// With a file that takes for ever.
    pub endless: (PathBuf, Table),
    /// With files that end workers, if there is a scanner that has these faults.
    pub faults: Option<(PathBuf, Table)>,
    /// Where names and contents change all the time.
    pub churn: PathBuf,
}

fn this(outcome: &str) -> Expected {
    Expected::This(outcome.to_owned())
}

impl Trees {
    /// Writes them.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(env: &Env, with_faults: bool) -> Self {
        let [main, endless, faults, churn] =
            ["main", "endless", "faults", "churn"].map(|name| env.dir().join(name));
        let tables = fill_main(&main);
        let endless_table = fill_endless(&endless);
        let faults = with_faults.then(|| {
            let table = fill_faults(&faults);
            (faults, table)
        });
        fill_churn(&churn);
        Self { main, tables, endless: (endless, endless_table), faults, churn }
    }
}

fn fill_main(main: &Path) -> [Table; 2] {
    let mut table = Table::new();
    for nth in 0..800 {
        let name = format!("{}/{}/{nth}", nth % 6, nth % 3);
        let (contents, outcome): (&[u8], _) = match nth % 40 {
            1 => (EICAR, "EICAR_Test_File FOUND"),
            2 => (b"hay, a needle, hay", "Needle FOUND"),
            3 => (b"", "OK"),
            _ => (b"hay and nothing else\n", "OK"),
        };
        files::write(&main.join(&name), contents);
        table.insert(name, this(outcome));
    }
    let large = [vec![b'.'; 5 << 20], b"a needle".to_vec()].concat();
    files::write(&main.join("large"), &large);
    files::write(&main.join("slow/1"), b"SLOWSLOW");
    files::write(&main.join("sparse"), b"");
    let sparse = File::options().write(true).open(main.join("sparse")).expect("open");
    sparse.set_len(3 << 30).expect("truncate");
    mkfifo(&main.join("0/fifo"), Mode::from_bits_truncate(0o666)).expect("mkfifo");
    let _ = UnixListener::bind(main.join("0/socket")).expect("bind");
    symlink("/etc/passwd", main.join("0/link")).expect("symlink");
    symlink("nowhere", main.join("0/dangling")).expect("symlink");
    let null = makedev(1, 3);
    mknod(&main.join("0/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), null)
        .expect("mknod");
    for (name, outcome) in [
        ("large", "Needle FOUND"),
        ("slow/1", "OK"),
        ("sparse", "size limit, 0 of 3221225472 bytes read INCOMPLETE"),
        ("0/fifo", "named pipe SKIPPED"),
        ("0/socket", "socket SKIPPED"),
        ("0/link", "symbolic link SKIPPED"),
        ("0/dangling", "symbolic link SKIPPED"),
        ("0/null", "device SKIPPED"),
    ] {
        table.insert(name.to_owned(), this(outcome));
    }
    let mut of_root = table.clone();
    let denied = "permission denied DENIED";
    files::write(&main.join("denied"), EICAR);
    files::own(&main.join("denied"), 0, 0, 0o600);
    files::write(&main.join("closed/inside"), EICAR);
    fs::set_permissions(main.join("closed"), Permissions::from_mode(0o700)).expect("chmod");
    table.extend(["denied", "closed"].map(|name| (name.to_owned(), this(denied))));
    let found = this("EICAR_Test_File FOUND");
    of_root.extend(["denied", "closed/inside"].map(|name| (name.to_owned(), found.clone())));
    [table, of_root]
}

fn fill_endless(endless: &Path) -> Table {
    let mut table = Table::new();
    let mut add = |name: &str, contents: &[u8], outcome: &str| {
        files::write(&endless.join(name), contents);
        table.insert(name.to_owned(), this(outcome));
    };
    add("endless", b"ENDLESS!", &format!("not finished after {DEADLINE_S} s ERROR"));
    add("eicar", EICAR, "EICAR_Test_File FOUND");
    (0..20).for_each(|nth| add(&format!("{nth}"), b"hay", "OK"));
    table
}

fn fill_faults(faults: &Path) -> Table {
    let mut table = Table::new();
    let mut add = |name: String, contents: &[u8], expected: Expected| {
        files::write(&faults.join(&name), contents);
        table.insert(name, expected);
    };
    for fault in FAULTS {
        add(fault.to_owned(), format!("FDBROKER-FAULT:{fault}\n").as_bytes(), Expected::Fault);
        add(format!("{fault}-clean"), b"hay", this("OK"));
        add(format!("{fault}-eicar"), EICAR, this("EICAR_Test_File FOUND"));
    }
    table
}

/// Everything here is harmless for everybody, but for what only root may read.
fn fill_churn(churn: &Path) {
    for directory in ["x", "y"] {
        for nth in 0..30 {
            files::write(&churn.join(directory).join(format!("{nth}")), b"hay\n");
        }
    }
    let secret = churn.with_file_name("secret");
    files::write(&secret.join("eicar"), EICAR);
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).expect("chmod");
    symlink(&secret, churn.join("way")).expect("symlink");
    symlink(secret.join("eicar"), churn.join("x/way")).expect("symlink");
}
