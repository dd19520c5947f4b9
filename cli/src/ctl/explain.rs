//! `fdbrokerctl explain`: which rule decides on a user and a path, and how far that user gets on the way.
//!
//! Runs as root, or as the owner of a broker. What is read and decided is read by processes that it starts
//! from fdbroker's executable: the configuration by the configuration reader, the way to the path by one that
//! has become that user. Nothing is scanned, and no file is opened.

mod show;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fdbroker_common::explanation::{Judgement, Kind, Reach, Rule, Walk};
use fdbroker_common::limits::MESSAGE_BYTES_MAX;
use fdbroker_common::wire::{Message, decode};

use super::CtlError;
use super::admin::AdminLink;
use super::program::Program;
use crate::targets::absolute;

/// How long a process may take; one on a file system that does not answer is ended.
const WAIT: Duration = Duration::from_secs(10);

/// All that is known.
pub struct Explanation<'a> {
    user: &'a OsStr,
    path: &'a Path,
    judgement: Judgement,
    /// How far the user gets; none if the user is not served.
    walk: Option<Walk>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// What the user can read is scanned.
    Allowed,
    /// A grant reaches it, with `--granted`.
    Granted,
    /// It would be skipped.
    Skipped,
    /// No.
    Refused,
}

/// Explains, and says with the exit status whether it may be scanned: 0 or 1.
pub fn run(
    dir: &Path,
    user: &OsStr,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, CtlError> {
    let program = match AdminLink::open(dir) {
        Ok(link) => Program::of_broker(&link),
        Err(CtlError::NoBroker { .. }) => Program::beside(),
        Err(other) => return Err(other),
    };
    let failed = |error: std::io::Error| CtlError::NoExplanation(error.to_string());
    let program = program.map_err(failed)?;
    let here = std::env::current_dir().map_err(failed)?;
    let mut command = program.command_as_it_was_started().map_err(failed)?;
    command.arg("--explain").arg(user).arg(absolute(&here, path));
    let judgement: Judgement = ask(command)?;
    let walk = walker(&judgement).map(|identity| {
        let mut command = program.command();
        command.arg("--explain-walk").args(identity);
        // As it was written: the kernel decides where `..` leads.
        ask(command.arg(here.join(path)))
    });
    let walk = walk.transpose()?;
    let explanation = Explanation { user, path, judgement, walk };
    if json {
        explanation.write_json(out)?
    } else {
        explanation.write_text(out)?
    }
    Ok(u8::from(!matches!(explanation.answer(), Answer::Allowed | Answer::Granted)))
}

/// The identity that files are opened with, as arguments; none if the user is not served.
fn walker(judgement: &Judgement) -> Option<[OsString; 4]> {
    let Judgement { uid, gid, groups, .. } = judgement;
    let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let whom = match judgement.rule {
        Rule::Default => {
            return Some([
                "user".into(),
                uid.to_string().into(),
                gid.to_string().into(),
                groups.into(),
            ]);
        }
        Rule::Root(reader) => ("reader", reader),
        Rule::Owner => ("own", *uid),
        Rule::Denied(_) | Rule::NotServed => return None,
    };
    Some([whom.0.into(), whom.1.to_string().into(), "0".into(), "".into()])
}

/// Starts a process and hears its one message.
fn ask<M: Message + Send + 'static>(
    mut command: impl std::borrow::BorrowMut<Command>,
) -> Result<M, CtlError> {
    let failed = |error: &dyn std::fmt::Display| CtlError::NoExplanation(error.to_string());
    let command = command.borrow_mut();
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR") {
        command.env("XDG_RUNTIME_DIR", dir);
    }
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let Some(mut pipe) = child.stdout.take() else {
        return Err(failed(&"no pipe"));
    };
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let most = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = pipe.by_ref().take(most).read_to_end(&mut bytes);
        // Nobody listens any more when it took too long.
        let _ = said.send(read.map(|_| bytes));
    });
    let Ok(heard) = heard.recv_timeout(WAIT) else {
        let _ = child.kill();
        return Err(failed(&"a file system does not answer"));
    };
    let status = child.wait().map_err(|error| failed(&error))?;
    if !status.success() {
        // It has said itself what is wrong.
        return Err(failed(&"see above"));
    }
    decode(&heard.map_err(|error| failed(&error))?).map_err(|error| failed(&error))
}

impl Explanation<'_> {
    fn answer(&self) -> Answer {
        let kind = self.walk.as_ref().and_then(|walk| walk.steps.last()).map(|step| step.kind);
        let reaches = |kind| matches!(kind, Reach::Reached(Kind::File | Kind::Directory));
        match self.walk.as_ref().map(|walk| walk.end) {
            Some(Ok(_)) if kind == Some(Kind::Special) => Answer::Skipped,
            Some(Ok(true)) => Answer::Allowed,
            _ if self.judgement.grants.iter().any(|(_, reach)| reaches(*reach)) => Answer::Granted,
            _ => Answer::Refused,
        }
    }

    /// The directory, or the object itself, that refuses the user.
    fn refusing(&self) -> Option<&[u8]> {
        let walk = self.walk.as_ref()?;
        match walk.end {
            Ok(true) => None,
            Ok(false) => walk.steps.last().map(|step| step.path.as_slice()),
            // Links do not refuse; the directory that the failed step was looked for in does.
            Err(_) => {
                let mut steps = walk.steps.iter().rev();
                steps.find(|step| step.kind != Kind::Link).map(|step| step.path.as_slice())
            }
        }
    }
}

/// A path of bytes.
fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
