//! Behind a directory that it may not search, a user cannot tell what is there from what is not: everything
//! that fdbroker lets the user observe is the same, byte by byte. How long it takes is not compared.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, ScanOptions, Target};
use fdbroker_common::wire::{self, Message};
use fdbroker_common::{fdpass, paths};
use fdbroker_tests::files::{self, EICAR};
use fdbroker_tests::{Caller, Connection, Env, Output, require_root};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Something that rules ask about, so names travel, too.
const NAMES: &str =
    "rule Named { condition: filename contains \"hidden\" or filepath contains \"hidden\" }";
const USER: u32 = 2000;

/// What is behind the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Absent,
    Readable,
    Eicar,
    Private,
    Large,
    Directory,
    Closed,
    Link,
    Fifo,
}

const WORLDS: [World; 9] = [
    World::Absent,
    World::Readable,
    World::Eicar,
    World::Private,
    World::Large,
    World::Directory,
    World::Closed,
    World::Link,
    World::Fifo,
];

impl World {
    fn make(self, at: &Path) {
        match self {
            Self::Absent => {}
            Self::Readable => files::write(at, b"hay"),
            Self::Eicar => files::write(at, EICAR),
            Self::Private => {
                files::write(at, EICAR);
                files::own(at, 0, 0, 0o600);
            }
            Self::Large => {
                files::write(at, b"");
                fs::File::options().write(true).open(at).unwrap().set_len(1 << 40).unwrap();
            }
            Self::Directory => files::write(&at.join("inside"), EICAR),
            Self::Closed => {
                files::write(&at.join("inside"), EICAR);
                files::own(at, 0, 0, 0o700);
            }
            Self::Link => symlink("/etc/passwd", at).unwrap(),
            Self::Fifo => mkfifo(at, Mode::from_bits_truncate(0o666)).unwrap(),
        }
    }

    fn remove(self, at: &Path) {
        match self {
            Self::Absent => {}
            Self::Directory | Self::Closed => fs::remove_dir_all(at).unwrap(),
            _ => fs::remove_file(at).unwrap(),
        }
    }
}

/// The directory that the user may not search, and the user's own with links into it.
struct Place {
    env: Env,
    closed: PathBuf,
    hidden: PathBuf,
    own: PathBuf,
}

impl Place {
    /// `mode`: of the directory, which is root's.
    fn new(mode: u32) -> Self {
        let env = Env::build().rule("names.yar", NAMES).start_spawned();
        let [closed, own] = ["closed", "own"].map(|name| env.dir().join(name));
        let hidden = closed.join("hidden");
        for directory in [&closed, &own] {
            fs::create_dir(directory).unwrap();
        }
        files::own(&closed, 0, 0, mode);
        symlink(&hidden, own.join("to-hidden")).unwrap();
        symlink(hidden.join("inside"), own.join("to-inside")).unwrap();
        symlink("../closed/hidden/..", own.join("and-back")).unwrap();
        symlink(&closed, own.join("to-closed")).unwrap();
        files::write(&own.join("file"), b"hay");
        files::own(&own, USER, USER, 0o755);
        let list = [hidden.as_os_str(), hidden.join("inside").as_os_str()]
            .map(|path| [path.as_bytes(), b"\n"].concat())
            .concat();
        let _ = env.file("list", &list);
        Self { env, closed, hidden, own }
    }

    /// Command lines by which somebody may try.
    fn attempts(&self) -> Vec<Vec<OsString>> {
        let text = |word: &str| OsString::from(word);
        let path = |path: &Path| path.as_os_str().to_owned();
        let hidden = path(&self.hidden);
        let mut attempts = vec![
            vec![hidden.clone()],
            vec![
                path(&self.hidden.join("inside")),
                path(&self.hidden.join(".")),
                path(&self.closed.join("hidden/../hidden")),
            ],
            vec![text("--files-from"), path(&self.env.dir().join("list"))],
            vec![text("--max-filesize"), text("1"), hidden.clone()],
            vec![text("--timeout"), text("1"), hidden.clone()],
            vec![path(&self.closed)],
            vec![path(&self.own)],
        ];
        for option in ["-L", "-i", "--json", "--one-file-system", "--no-summary"] {
            attempts.push(vec![text(option), hidden.clone()]);
            attempts.push(vec![text(option), path(&self.closed)]);
            attempts.push(vec![text("-L"), text(option), path(&self.own)]);
        }
        attempts.dedup();
        for pattern in ["hidden", "inside", "*", "**/closed/*", "to-*", "nothing"] {
            for target in [&self.hidden, &self.own, &self.closed] {
                attempts.push(vec![text("-L"), text("--exclude"), text(pattern), path(target)]);
            }
        }
        // clap takes no option twice.
        attempts.retain(|words| words.iter().filter(|word| *word == "-L").count() < 2);
        attempts
    }

    /// Everything that the user observes.
    fn observe(&self) -> Vec<(String, String)> {
        let caller = Caller::user(USER);
        let mut seen = Vec::new();
        for attempt in self.attempts() {
            let output = self.env.fdscan(&caller, &attempt);
            seen.push((format!("{attempt:?}"), without_time(&output)));
        }
        for (flags, what) in [(nix::libc::O_PATH, "designated"), (0, "opened")] {
            for follow_links in [false, true] {
                let options = ScanOptions { follow_links, ..ScanOptions::default() };
                let messages = self.converse(&caller, &options, open(&self.closed, flags));
                seen.push((format!("{what}, {options:?}"), format!("{messages:02x?}")));
            }
        }
        seen
    }

    /// What an opener says, byte by byte, to somebody who was passed a descriptor of the directory and
    /// names what is in it, and of a directory with links that lead there.
    fn converse(&self, caller: &Caller, options: &ScanOptions, closed: OwnedFd) -> Vec<Vec<u8>> {
        let connection = self.env.connect(caller);
        connection.socket().set_read_timeout(Some(fdbroker_tests::PATIENCE)).unwrap();
        let root = options.follow_links.then(|| open(Path::new("/"), nix::libc::O_PATH));
        let root: Vec<_> = root.iter().map(AsFd::as_fd).collect();
        send(&connection, &ClientToOpener::Start(options.clone()), &root);
        let own = open(&self.own, nix::libc::O_PATH);
        let names: [&[u8]; 3] = [b"hidden", b"closed/hidden", b"own"];
        let targets =
            names.iter().zip(0..).map(|(name, id)| Target { id, name: name.to_vec().into() });
        let descriptors = [closed.as_fd(), closed.as_fd(), own.as_fd()];
        send(&connection, &ClientToOpener::Targets(targets.collect()), &descriptors);
        send(&connection, &ClientToOpener::End, &[]);
        let mut messages = Vec::new();
        loop {
            let (bytes, descriptors) = connection.hear().expect("a message");
            assert!(descriptors.is_empty());
            match wire::decode::<OpenerToClient>(&bytes).expect("a message") {
                // Once in a second, if the machine is busy.
                OpenerToClient::Progress(_) => {}
                OpenerToClient::Done(_) => {
                    messages.push(bytes);
                    return in_order(messages);
                }
                _ => messages.push(bytes),
            }
        }
    }
}

/// How reports are spread over messages depends on the moment.
fn in_order(messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for bytes in messages {
        match wire::decode::<OpenerToClient>(&bytes) {
            Ok(OpenerToClient::Reports(reports)) => {
                for report in reports {
                    let mut single = Vec::new();
                    wire::encode(&OpenerToClient::Reports(vec![report]), &mut single).unwrap();
                    parts.push(single);
                }
            }
            _ => parts.push(bytes),
        }
    }
    parts.sort();
    parts
}

fn send(connection: &Connection, message: &impl Message, descriptors: &[BorrowedFd<'_>]) {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).expect("a message");
    fdpass::send(connection.socket(), &bytes, descriptors).expect("sent");
}

fn open(path: &Path, flags: i32) -> OwnedFd {
    let options = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    options.expect("root can").into()
}

/// Everything of an output but for the time that it took. Outcomes come in no particular order.
fn without_time(output: &Output) -> String {
    let cut = |line: &str| match line.split_once("\"seconds\":") {
        Some((before, rest)) => {
            format!("{before}{}", rest.trim_start_matches(|c: char| !matches!(c, ',' | '}')))
        }
        None => line.to_owned(),
    };
    let text = output.text();
    let lines = text.lines().filter(|line| !line.starts_with("Time:"));
    let mut lines: Vec<String> = lines.map(cut).collect();
    lines.sort();
    format!("{:?} {:?} {lines:#?} {}", output.code, output.signal, output.errors())
}

/// Compares all worlds with the one in which there is nothing.
#[track_caller]
fn all_look_the_same(place: &Place) {
    let mut first: Option<Vec<(String, String)>> = None;
    for world in WORLDS {
        world.make(&place.hidden);
        let seen = place.observe();
        world.remove(&place.hidden);
        let absent = first.get_or_insert_with(|| seen.clone());
        for (told, now) in absent.iter().zip(&seen) {
            assert_eq!(told, now, "{world:?} can be told from what is absent");
        }
        assert_eq!(absent.len(), seen.len());
    }
}

#[test]
fn what_is_behind_a_directory_that_may_not_be_searched_looks_like_what_is_not_there() {
    require_root!();
    let place = Place::new(0o700);
    all_look_the_same(&place);
    // One who may look sees the difference: these observations can tell.
    files::own(&place.closed, 0, 0, 0o755);
    let absent = place.observe();
    World::Eicar.make(&place.hidden);
    let differ = absent.iter().zip(place.observe()).filter(|(told, now)| *told != now).count();
    assert!(differ > absent.len() / 2, "only {differ} of {} differ", absent.len());
}

#[test]
fn the_same_goes_for_a_directory_that_may_be_listed_but_not_searched() {
    require_root!();
    // Then the names are no secret, but what they stand for is.
    let place = Place::new(0o744);
    let mut first: Option<Vec<(String, String)>> = None;
    for world in WORLDS.into_iter().filter(|world| *world != World::Absent) {
        world.make(&place.hidden);
        let seen = place.observe();
        world.remove(&place.hidden);
        let told = first.get_or_insert_with(|| seen.clone());
        assert_eq!(*told, seen, "{world:?}");
    }
}

#[test]
fn the_state_of_the_broker_is_told_to_root_alone() {
    require_root!();
    let env = Env::start_spawned();
    let user = Caller::user(USER);
    for verb in ["status", "reload"] {
        let output = env.ctl_as(&user, [verb]);
        assert_eq!(output.code, Some(2), "{output}");
        assert_eq!(output.text(), "", "{verb}");
    }
    let refused = Connection::open(&user, &env.runtime().join(paths::ADMIN_SOCKET));
    let refused = refused.expect_err("refused by the kernel");
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(env.ctl_as(&Caller::root(), ["status"]).code, Some(0));
}
