//! The unprivileged part: reads what it is lent and answers with two numbers.
//!
//! Runs as nobody, or at least without a right to the files. It never writes text for others.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use fdbroker_common::stamp::Stamp;
use fdbroker_common::{fdpass, stdio};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::geteuid;

use crate::exit::Result;

/// How much is read at once.
pub const CHUNK_BYTES: usize = 64 * 1024;
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const PATH_BYTES_MAX: usize = 4096;

/// What the scanner found. Only `Clean` means that all is well.
#[derive(Clone, Copy)]
pub enum Verdict {
    Clean = 0,
    Match = 1,
    Incomplete = 2,
    Unstable = 3,
    Error = 4,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Clean => "clean",
            Self::Match => "match EICAR",
            Self::Incomplete => "incomplete",
            Self::Unstable => "unstable",
            Self::Error => "error",
        })
    }
}

/// The test string (eicar.org), in two halves so that no scanner takes this source for a finding.
pub fn eicar() -> Vec<u8> {
    let first = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$";
    let second = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    [first.as_slice(), second.as_slice()].concat()
}

/// Serves until the privileged part hangs up.
pub fn run() -> Result<()> {
    if geteuid().is_root() {
        return Err("a scanner must not be root".into());
    }
    let link = UnixDatagram::from(stdio::take_stdin()?);
    let eicar = eicar();
    let mut buffer = [0; PATH_BYTES_MAX];
    loop {
        let packet = fdpass::receive(&link, &mut buffer)?;
        if packet.length == 0 {
            return Ok(());
        }
        let [descriptor] = <[OwnedFd; 1]>::try_from(packet.descriptors)
            .map_err(|several| format!("{} descriptors instead of one", several.len()))?;
        let path = Path::new(OsStr::from_bytes(&buffer[..packet.length]));
        let by_name = match File::open(path) {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(Errno::EIO as i32),
        };
        let verdict = judge(descriptor, &eicar).unwrap_or(Verdict::Error);
        let [a, b, c, d] = by_name.to_le_bytes();
        fdpass::send(&link, &[verdict as u8, a, b, c, d], &[])?;
    }
}

/// What the privileged part makes of an answer: numbers it does not know are refused.
pub fn decode(answer: &[u8]) -> Result<(Errno, Verdict)> {
    let [verdict, a, b, c, d] = *answer else {
        return Err("an answer of another length".into());
    };
    let verdict = match verdict {
        0 => Verdict::Clean,
        1 => Verdict::Match,
        2 => Verdict::Incomplete,
        3 => Verdict::Unstable,
        4 => Verdict::Error,
        _ => return Err("an unknown verdict".into()),
    };
    Ok((Errno::from_raw(i32::from_le_bytes([a, b, c, d])), verdict))
}

/// Clean only if every byte was read and the file did not change meanwhile.
fn judge(descriptor: OwnedFd, pattern: &[u8]) -> io::Result<Verdict> {
    let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
    let file = File::from(descriptor);
    if flags & OFlag::O_ACCMODE != OFlag::O_RDONLY {
        return Err(ErrorKind::InvalidInput.into());
    }
    // Size and times; fails unless it is a regular file.
    let before = Stamp::take(&file)?;
    let mut window = vec![0; CHUNK_BYTES + pattern.len()];
    let (mut kept, mut offset) = (0, 0);
    while offset < FILE_BYTES_MAX {
        let length = match file.read_at(&mut window[kept..kept + CHUNK_BYTES], offset) {
            Ok(0) if Stamp::take(&file)? != before => return Ok(Verdict::Unstable),
            Ok(0) => return Ok(Verdict::Clean),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        };
        offset += length as u64;
        let filled = kept + length;
        if window[..filled].windows(pattern.len()).any(|part| part == pattern) {
            return Ok(Verdict::Match);
        }
        // A match may begin in this piece and end in the next one.
        kept = filled.min(pattern.len() - 1);
        window.copy_within(filled - kept..filled, 0);
    }
    Ok(Verdict::Incomplete)
}
