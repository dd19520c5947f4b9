//! The role that tries escape probes.
//!
//! Started by `fdbrokerctl self-test`, or by anybody by hand, never by a broker. It puts up the fence
//! of the broker, dispatcher or opener by the functions that those use, in their order, with an
//! execve(2) between the broker's and the narrower one. Then it tries acts of
//! [`fdbroker_common::probe`] and writes a line for each: its name, and the exit status that stands for
//! what came of it. One that kills it is the one after its last line. It has the rights of who starts
//! it, and gives up all that the real one gives up.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use fdbroker_common::probe::{Act, Fence, Props, exit_code};
use nix::unistd::{Uid, User};

use crate::configuration::interpreter;
use crate::confine;
use crate::root::settings::OWN_UIDS;
use crate::root::{self, privilege};

/// First argument that selects this role. Then follow a fence, a directory to try acts in, and acts.
pub const ROLE: &str = "--probe";

/// In the place of a fence: none, to see what an act does where nothing forbids it.
pub const UNFENCED: &str = "none";

/// In the place of an act: say a line once the fence stands, and live until standard input ends.
pub const HOLD: &str = "hold";

/// In front of a fence: the broker's is inherited.
const INSIDE: &str = "inside";

/// Tries what it is told; 2 when a fence could not be put up.
#[must_use]
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    match probe(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fdbroker: probe: {error}");
            2.into()
        }
    }
}

fn probe(args: &[OsString]) -> io::Result<()> {
    let (inside, rest) = match args {
        [first, rest @ ..] if first == INSIDE => (true, rest),
        all => (false, all),
    };
    let [fence, place, acts @ ..] = rest else {
        return Err(io::Error::other("it takes a fence, a directory and acts"));
    };
    let place = Path::new(place);
    if fence == UNFENCED {
        return attempt(acts, &mut Props::gather_all(place)?);
    }
    match (fence.to_str().and_then(Fence::named), inside) {
        (Some(Fence::Broker), false) => {
            let mut props = Props::gather_all(place)?;
            confine_as_broker()?;
            attempt(acts, &mut props)
        }
        (Some(Fence::Opener | Fence::Reader | Fence::Dispatcher), false) => {
            confine_as_broker()?;
            Err(execute_inside(rest))
        }
        (Some(fence @ (Fence::Opener | Fence::Reader | Fence::Dispatcher)), true) => {
            take_identity(fence)?;
            nix::sys::prctl::set_dumpable(false)?;
            let mut props = Props::gather_all(place)?;
            match fence {
                Fence::Dispatcher => confine::dispatcher()?,
                _ => confine::opener()?,
            }
            attempt(acts, &mut props)
        }
        _ => Err(io::Error::other("no such fence of this program")),
    }
}

fn confine_as_broker() -> io::Result<()> {
    root::confine(None, [&interpreter::find()?, &None], Uid::effective().is_root())
}

/// Starts this program afresh, as the broker starts its children; returns only on failure.
fn execute_inside(args: &[OsString]) -> io::Error {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("fdbroker: probe").args([ROLE, INSIDE]).args(args).env_clear();
    command.current_dir("/").exec()
}

/// Becomes what a process of ours is behind that fence: as root a user of its own.
fn take_identity(fence: Fence) -> io::Result<()> {
    if !Uid::effective().is_root() {
        return privilege::clear_capabilities();
    }
    let is_free = |uid: &u32| matches!(User::from_uid(Uid::from_raw(*uid)), Ok(None));
    // A broker takes the highest ones: no process of ours has the lowest.
    let uid = { OWN_UIDS }.find(is_free).ok_or_else(|| io::Error::other("no free user id"))?;
    match fence {
        Fence::Reader => privilege::become_reader(uid),
        _ => privilege::become_user(uid, uid, &[]),
    }
}

fn attempt(acts: &[OsString], props: &mut Props) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for act in acts.iter().filter_map(|act| act.to_str()) {
        if act == HOLD {
            writeln!(out, "{HOLD}")?;
            io::stdin().lock().read_to_end(&mut Vec::new())?;
            continue;
        }
        let act = Act::named(act).ok_or_else(|| io::Error::other("no such act"))?;
        let code = exit_code(act.attempt(props));
        writeln!(out, "{} {code}", act.name())?;
    }
    Ok(())
}
