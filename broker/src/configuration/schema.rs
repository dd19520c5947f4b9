//! Every section and key of the configuration files, with what they take and what they mean. Data.
//!
//! The reader knows no other key; the manual page fdbroker.toml(5) and the commented example
//! `etc/fdbroker.toml` are written from this table too.

use fdbroker_common::limits::{
    FILE_BYTES_MAX, FILE_DEADLINE_MAX, OPENERS_PER_UID_MAX, WORKERS_MAX,
};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// An integer from 1 to this.
    Number(u64),
    /// Bytes from 1 to this, as an integer or as a string like `"100M"`.
    Size(u64),
    /// A string that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or an absolute path.
    WordOrPath(&'static [&'static str]),
    /// A list of names and numbers of users or groups.
    Names,
    /// A list of absolute paths.
    Paths,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// A value in TOML: the default if there is one, else an example.
    pub value: &'static str,
    /// What it is without it, for people; empty: `value`.
    pub default: &'static str,
    /// What it means, in whole sentences.
    pub text: &'static str,
}

/// A table of a file.
#[derive(Debug)]
pub struct Section {
    /// Name of the table; empty: what stands before the first one.
    pub name: &'static str,
    /// Whether it may stand there any number of times, as `[[name]]`.
    pub repeated: bool,
    /// What it means, in whole sentences.
    pub text: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
}

const FILE_DEADLINE_S_MAX: u64 = FILE_DEADLINE_MAX.as_secs();

const USERS: Key = Key {
    name: "users",
    kind: Kind::Names,
    value: "[\"alice\", 1001]",
    default: "none",
    text: "Users by name or number. A name must exist; a number needs no account.",
};

const GROUPS: Key = Key {
    name: "groups",
    kind: Kind::Names,
    value: "[\"staff\"]",
    default: "none",
    text: "Groups by name or number. They count for the groups that a process has when it connects, \
           whoever is listed as a member.",
};

const TOP: Section = Section {
    name: "",
    repeated: false,
    text: "Behind the head of a table they would belong to it.",
    keys: &[
        Key {
            name: "runtime_dir",
            kind: Kind::Text,
            value: "\"/run/fdbroker\"",
            default: "/run/fdbroker when root starts the broker, else $XDG_RUNTIME_DIR/fdbroker",
            text: "Directory of the sockets.",
        },
        Key {
            name: "rules",
            kind: Kind::Text,
            value: "\"/etc/fdbroker/rules.d\"",
            default: "/etc/fdbroker/rules.d if it exists, else only the built-in rule",
            text: "Directory of *.yar and *.yara files. One that is named must exist.",
        },
        Key {
            name: "watch_rules",
            kind: Kind::Flag,
            value: "false",
            default: "",
            text: "Read the rules again whenever their directory changes. Bad ones change nothing.",
        },
        Key {
            name: "scanner_user",
            kind: Kind::Text,
            value: "\"nobody\"",
            default: "",
            text: "User of the scanner, by name or number. It must not be root, nor have root's group. \
                   Only for a broker that root starts.",
        },
        Key {
            name: "spawn_scanner",
            kind: Kind::Flag,
            value: "false",
            default: "",
            text: "Start fdscand too, instead of waiting for one to connect.",
        },
        Key {
            name: "workers",
            kind: Kind::Number(WORKERS_MAX as u64),
            value: "4",
            default: "what fdscand asks for, else one for each processor",
            text: "Workers that scan at once.",
        },
    ],
};

const GRANT: Section = Section {
    name: "grant",
    repeated: true,
    text: "Read access for scanning beneath some trees, beyond what the users may read themselves. \
           They never get the contents, only verdicts. Needs users or groups, and trees. Only for a \
           broker that root starts.",
    keys: &[
        USERS,
        GROUPS,
        Key {
            name: "trees",
            kind: Kind::Paths,
            value: "[\"/srv/mail\", \"/srv/upload\"]",
            default: "none; required",
            text: "Absolute paths of directories that exist, without links in them. A file system that \
                   is mounted beneath one is not part of it; name its mount point too.",
        },
        Key {
            name: "except",
            kind: Kind::Paths,
            value: "[\"/srv/mail/keys\"]",
            default: "none",
            text: "Absolute paths beneath the trees that the grant does not reach.",
        },
        Key {
            name: "hard_links",
            kind: Kind::Flag,
            value: "false",
            default: "",
            text: "Also read files that have several names. One of the names may be outside of the \
                   trees: who may write in a tree could link a file of somebody else there.",
        },
    ],
};

const DENY: Section = Section {
    name: "deny",
    repeated: true,
    text: "Who is not served at all, whatever is granted. Root cannot be denied.",
    keys: &[USERS, GROUPS],
};

const LIMIT: Section = Section {
    name: "limit",
    repeated: true,
    text: "What each of some users may take. The first entry that names a user counts, in the order in \
           which the files are read, and no other; a key that it lacks leaves what everybody may.",
    keys: &[
        USERS,
        GROUPS,
        Key {
            name: "connections",
            kind: Kind::Number(OPENERS_PER_UID_MAX as u64),
            value: "8",
            default: "64",
            text: "Connections that are served at once. Further ones wait.",
        },
        Key {
            name: "files_in_flight",
            kind: Kind::Number(u32::MAX as u64),
            value: "64",
            default: "no limit of its own",
            text: "Files of one connection that are open for workers at once.",
        },
        Key {
            name: "scan_bytes",
            kind: Kind::Size(i64::MAX as u64),
            value: "\"10G\"",
            default: "no limit",
            text: "Bytes of all files of one scan together. What comes after is told as incomplete.",
        },
        Key {
            name: "file_bytes_max",
            kind: Kind::Size(FILE_BYTES_MAX),
            value: "\"100M\"",
            default: "2G",
            text: "Bytes of one file. Larger ones are told as incomplete.",
        },
        Key {
            name: "file_deadline_s",
            kind: Kind::Number(FILE_DEADLINE_S_MAX),
            value: "60",
            default: "what the client asks for, at most 3600",
            text: "Seconds for one file.",
        },
    ],
};

const AUDIT: Section = Section {
    name: "audit",
    repeated: false,
    text: "The record of who had what scanned.",
    keys: &[
        Key {
            name: "to",
            kind: Kind::WordOrPath(&["auto", "journal", "stderr", "off"]),
            value: "\"auto\"",
            default: "",
            text: "Where it is written: to the journal, to standard error, to a file of this path, or \
                   nowhere (\"off\"). \"auto\" is the journal if the broker was started by systemd, else \
                   standard error; for a broker that an ordinary user starts it is nowhere.",
        },
        Key {
            name: "format",
            kind: Kind::Word(&["text", "json"]),
            value: "\"text\"",
            default: "",
            text: "One line for each record, or one JSON object a line. The journal has fields of its own.",
        },
        Key {
            name: "files",
            kind: Kind::Word(&["none", "findings", "all"]),
            value: "\"findings\"",
            default: "",
            text: "Of which files there is a record of their own: of none, of findings (all that are \
                   neither clean nor skipped), or of all.",
        },
    ],
};

/// All sections, the one without a name first.
pub const SECTIONS: [&Section; 5] = [&TOP, &AUDIT, &GRANT, &DENY, &LIMIT];

impl Section {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// As its head is written; empty for what stands before the first one.
    #[must_use]
    pub fn head(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => String::new(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        }
    }
}

impl Kind {
    /// What it takes, for people.
    #[must_use]
    pub fn wants(&self) -> String {
        let words = |words: &[&str]| format!("\"{}\"", words.join("\", \""));
        match self {
            Self::Flag => "true or false".into(),
            Self::Number(max) if *max >= u32::MAX.into() => "an integer of at least 1".into(),
            Self::Number(max) => format!("an integer from 1 to {max}"),
            Self::Size(_) => "a number of bytes, as 1048576 or \"1M\"".into(),
            Self::Text => "a string".into(),
            Self::Word(list) => format!("one of {}", words(list)),
            Self::WordOrPath(list) => format!("one of {}, or an absolute path", words(list)),
            Self::Names => "a list of names and numbers".into(),
            Self::Paths => "a list of absolute paths".into(),
        }
    }
}
