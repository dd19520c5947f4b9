//! Step 5: the scanner judges files that it cannot open. Run it as root, or as anybody.
//!
//! This file is the privileged part: it opens, and never reads a byte of a file that it opened. As
//! root it starts the scanner as nobody; otherwise the scanner has the same uid and meets mode 0000.

#[path = "../support/executable.rs"]
mod executable;
#[path = "../support/exit.rs"]
mod exit;
mod scanner;
#[path = "../support/scratch.rs"]
mod scratch;

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fdbroker_common::fdpass;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{User, geteuid};
use scanner::Verdict;

fn main() -> std::process::ExitCode {
    exit::report(match std::env::args_os().nth(1) {
        None => privileged(),
        Some(_) => scanner::run(),
    })
}

fn privileged() -> exit::Result<()> {
    let nobody = if geteuid().is_root() {
        println!("form: files of root with mode 0600, a scanner that is nobody");
        Some(User::from_name("nobody")?.ok_or("there is no user nobody")?)
    } else {
        println!("form: files with mode 0000, a scanner with the same uid");
        None
    };
    let (link, mut child) = start_scanner(nobody.as_ref())?;
    let scratch = scratch::Scratch::new()?;
    let eicar = scanner::eicar();
    let padded = [vec![b'.'; scanner::CHUNK_BYTES - 10], eicar.clone()].concat();
    for (name, content) in
        [("letter.txt", b"Dear reader".to_vec()), ("sample.com", eicar), ("padded.bin", padded)]
    {
        let path = scratch.path().join(name);
        let file = create(&path, &content)?;
        if nobody.is_none() {
            file.set_permissions(Permissions::from_mode(0o000))?;
        }
        let (by_name, verdict) = ask(&link, &path, &file)?;
        println!("{name}: by name {by_name}, by descriptor {verdict}");
    }
    drop(link);
    println!("the scanner ended with {}", child.wait()?);
    Ok(())
}

/// Starts this executable again, as nobody if that is possible, and keeps one end of the link.
fn start_scanner(nobody: Option<&User>) -> exit::Result<(UnixDatagram, Child)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let executable = executable::for_anybody(Path::new("/proc/self/exe"))?;
    let mut command = Command::new(executable::program(&executable));
    command
        .arg0("antivirus")
        .arg("scanner")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs));
    if let Some(user) = nobody {
        // In the child, before exec: setgid, setgroups (none), setuid.
        command.gid(user.gid.as_raw()).uid(user.uid.as_raw());
    }
    Ok((UnixDatagram::from(ours), command.spawn()?))
}

/// Makes a file that only its owner can read, and opens it again for reading alone.
fn create(path: &PathBuf, content: &[u8]) -> exit::Result<File> {
    let mut new = OpenOptions::new();
    let mut file = new.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(File::open(path)?)
}

/// Lends the open file to the scanner; what open(2) said to it, and its verdict.
fn ask(link: &UnixDatagram, path: &Path, file: &File) -> exit::Result<(Errno, Verdict)> {
    fdpass::send(link, path.as_os_str().as_bytes(), &[file.as_fd()])?;
    let mut answer = [0; 6];
    match fdpass::receive_plain(link, &mut answer)? {
        0 => Err("the scanner has gone, there is no verdict".into()),
        length => scanner::decode(&answer[..length]),
    }
}
