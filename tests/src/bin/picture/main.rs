//! Makes the moving picture of the README from a real scan on a terminal: `make picture`, as root.
//!
//! A broker of its own, a directory with files of all kinds and /usr are scanned by an ordinary user;
//! what the terminal shows is looked at again and again until the scan ends. Not installed.
#![forbid(unsafe_code)]

mod svg;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::terminal::On;
use fdbroker_tests::{Caller, Env, Terminal, skip};

const COLUMNS: u16 = 90;
const LOOK: Duration = Duration::from_millis(250);
const COMMAND: &str = "$ fdscan -i Downloads /usr";

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: picture FILE.svg");
        return ExitCode::from(2);
    };
    if !skip::is_root() {
        eprintln!("picture: needs root, to have a broker for another user");
        return ExitCode::FAILURE;
    }
    let env = Env::start_spawned();
    let home = env.dir().join("home");
    fill(&home.join("Downloads"));
    let caller = Caller::user(2000);
    let fdscan = env.fdscan_program(&caller).directory(&home).arg("-i").args(["Downloads", "/usr"]);
    let mut terminal = Terminal::start(fdscan, On::Both, COLUMNS);
    let mut frames = vec![(Duration::ZERO, terminal.screen())];
    let begun = Instant::now();
    while terminal.running().ended_within(LOOK).is_none() {
        frames.push((begun.elapsed(), terminal.screen()));
    }
    let (code, _) = terminal.finish();
    frames.push((begun.elapsed(), terminal.screen()));
    match fs::write(&path, svg::moving(COMMAND, &frames, code)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("picture: {}: {error}", Path::new(&path).display());
            ExitCode::FAILURE
        }
    }
}

fn fill(downloads: &Path) {
    files::write(&downloads.join("invoice.pdf.exe"), EICAR);
    files::write(&downloads.join("notes.txt"), b"nothing of interest");
    files::write(&downloads.join("red\x1b[31m\u{202e}txt.exe"), EICAR);
    let closed = downloads.join("of-root");
    files::write(&closed, b"secret");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).expect("chmod");
    let image = fs::File::create(downloads.join("disk.img")).expect("a file");
    image.set_len(3 << 30).expect("a size");
    fs::set_permissions(downloads.join("disk.img"), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    symlink("/etc/shadow", downloads.join("link")).expect("symlink");
}
