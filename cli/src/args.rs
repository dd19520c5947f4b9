//! The command line of `fdscan`.
//!
//! Pure: bytes to settings. Names stay bytes, whatever the locale; it opens nothing.

mod habits;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser};
use fdbroker_common::client_link::ScanOptions;
use fdbroker_common::limits::{EXCLUDE_BYTES_MAX, EXCLUDES_MAX, STREAM_BYTES_MAX};

use crate::output::{ColourChoice, Format, Shown, Shows, Style};

/// How long a broker that went away in the middle of a scan is waited for, at most.
const BROKER_WAIT: Duration = Duration::from_secs(30);

/// Scan files with sealed, unprivileged workers.
#[derive(Debug, Parser)]
#[command(
    name = "fdscan",
    version,
    max_term_width = 80,
    override_usage = "fdscan [OPTIONS] PATH...\n       fdscan [OPTIONS] --files-from FILE [PATH]...",
    after_help = "Exit status: 1 if anything matched, else 2 if anything could not be scanned whole \
                  or the scan itself failed, else 0. Skipped files do not change it. SIGINT (Ctrl-C) \
                  and SIGTERM end fdscan after a summary of what was done, which shells tell as 130 and \
                  143; a second one ends it at once.\n\n\
                  For those who come from other scanners: -r, -z, --multiscan, --fdpass, --stream, --hidden \
                  and --no-ignore are taken and change nothing; -f is --files-from.\n\n\
                  Without --runtime-dir, --rules and --private the broker in /run/fdbroker is asked, \
                  else the one in $XDG_RUNTIME_DIR/fdbroker, else a private one is started."
)]
pub struct Args {
    /// Ask the broker of this runtime directory and no other
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rules", "private"])]
    pub runtime_dir: Option<PathBuf>,

    /// Write one JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Print only files that match; what could not be scanned goes to standard error
    #[arg(short, long)]
    pub infected: bool,

    /// Scan the files and directories named in FILE, one a line; `-` is standard input
    #[arg(long, alias = "file-list", short_alias = 'f', value_name = "FILE")]
    pub files_from: Option<PathBuf>,

    /// Names in --files-from end in NUL, not in newline
    #[arg(short = '0', long, requires = "files_from")]
    pub null: bool,

    /// Skip what GLOB matches: a name, or a whole path if GLOB has a `/`; may be repeated
    #[arg(long, value_name = "GLOB", action = ArgAction::Append)]
    pub exclude: Vec<OsString>,

    /// Report larger files as incomplete; as 100, 10K, 25M, 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_filesize: Option<u64>,

    /// Give a file up after this time (1 to 3600); a broker that went away is waited for as long, and
    /// for 30 seconds at most
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout: Option<u32>,

    /// Stay on the file system of each PATH
    #[arg(long)]
    pub one_file_system: bool,

    /// Follow symbolic links inside directories
    #[arg(short = 'L', long)]
    pub follow: bool,

    /// Tell where patterns matched: offset, length, pattern and the first 64 bytes
    #[arg(short = 's', long)]
    pub print_strings: bool,

    /// Tell the metadata of the rules that matched
    #[arg(short = 'm', long)]
    pub print_meta: bool,

    /// Tell the tags of the rules that matched
    #[arg(short = 'g', long)]
    pub print_tags: bool,

    /// Tell the SHA-256 of each file that was read whole
    #[arg(long)]
    pub hash: bool,

    /// Print nothing; what could not be scanned goes to standard error, all else is the exit status
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,

    /// Say on standard error who serves the scan, with which rules; with all of --verbose-errors
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Say on standard error what can be done about each file that could not be scanned
    #[arg(long, conflicts_with = "quiet")]
    pub verbose_errors: bool,

    /// Colour the words FOUND, OK and so on
    #[arg(
        long,
        alias = "colour",
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub color: ColourChoice,

    /// Do not show how far a long scan is, which is shown if standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,

    /// Print no summary
    #[arg(long)]
    pub no_summary: bool,

    /// Use the rules in DIR, with a private broker
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,

    /// Scan beneath trees that the administrator has granted you, also what you cannot read; no
    /// symbolic link is followed, in no part of PATH
    #[arg(long, conflicts_with_all = ["rules", "private", "follow"])]
    pub granted: bool,

    /// Start a private broker even if another one listens
    #[arg(long)]
    pub private: bool,

    /// What is done anyway: for those who are used to saying it
    #[arg(
        short = 'r', long = "recursive", short_aliases = ['z', 'u', '.'], hide = true,
        aliases = [
            "multiscan", "fdpass", "stream", "allmatch", "stdout", "hidden", "no-ignore", "no-ignore-vcs",
            "no-ignore-parent", "no-ignore-global", "no-ignore-dot", "no-ignore-files", "unrestricted",
        ],
        action = ArgAction::Count
    )]
    pub anyway: u8,

    /// Files, and directories with all beneath them; `-` is standard input
    #[arg(value_name = "PATH", required_unless_present = "files_from")]
    pub paths: Vec<PathBuf>,
}

impl Args {
    /// Reads the command line; ends the process after --help, --version (0) or a mistake (2).
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = Self::try_parse_from(arguments).map_err(habits::answer)?;
        match args.contradiction() {
            Some(what) => Err(Self::command().error(ErrorKind::ArgumentConflict, what)),
            None => Ok(args),
        }
    }

    /// What cannot be meant, though each argument alone is good.
    fn contradiction(&self) -> Option<&'static str> {
        let stdin = self.paths.iter().filter(|path| is_dash(path)).count();
        let list_is_stdin = self.files_from.as_deref().is_some_and(is_dash);
        if stdin > 0 && self.granted {
            Some("`-` cannot be scanned with --granted: standard input has no path")
        } else if stdin > 1 {
            Some("`-` can be scanned only once")
        } else if stdin == 1 && list_is_stdin {
            Some("standard input cannot be both `--files-from -` and a file to be scanned")
        } else if self.exclude.len() > EXCLUDES_MAX {
            Some("more than 256 --exclude patterns")
        } else if self.exclude.iter().any(|pattern| pattern.is_empty()) {
            Some("an --exclude pattern is empty")
        } else if self.exclude.iter().any(|pattern| pattern.len() > EXCLUDE_BYTES_MAX) {
            Some("an --exclude pattern is longer than 1024 bytes")
        } else {
            None
        }
    }

    /// The choices that the opener needs.
    #[must_use]
    pub fn scan_options(&self) -> ScanOptions {
        ScanOptions {
            omit_clean: self.infected || self.quiet,
            one_filesystem: self.one_file_system,
            follow_links: self.follow,
            file_bytes_max: self.max_filesize.unwrap_or(0),
            file_deadline_s: self.timeout.unwrap_or(0),
            excludes: self
                .exclude
                .iter()
                .map(|pattern| pattern.as_bytes().to_vec().into())
                .collect(),
            details: self.shows().options(),
        }
    }

    /// What is told of a file besides its outcome.
    fn shows(&self) -> Shows {
        if self.quiet {
            return Shows::default();
        }
        Shows {
            hash: self.hash,
            strings: self.print_strings,
            tags: self.print_tags,
            metadata: self.print_meta,
        }
    }

    /// What is told, and how.
    #[must_use]
    pub fn style(&self) -> Style {
        Style {
            format: if self.json { Format::Json } else { Format::Text },
            shown: match (self.quiet, self.infected) {
                (true, _) => Shown::Nothing,
                (false, true) => Shown::Matches,
                (false, false) => Shown::All,
            },
            details: self.shows(),
            summary: !self.no_summary && !self.quiet,
            advice: self.verbose_errors || self.verbose,
            progress: !self.no_progress && !self.quiet,
            colour: self.color,
        }
    }

    /// How long a broker that went away is waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let timeout = self.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        timeout.map_or(BROKER_WAIT, |timeout| timeout.min(BROKER_WAIT))
    }

    /// Most bytes that are copied from a pipe or terminal.
    #[must_use]
    pub fn stream_bytes_max(&self) -> u64 {
        self.max_filesize.unwrap_or(STREAM_BYTES_MAX).min(STREAM_BYTES_MAX)
    }
}

/// Whether an argument stands for standard input.
#[must_use]
pub fn is_dash(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

/// `100`, `10K`, `25M`, `2G`, also `10KB` and `10KiB`: powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err("not a size; examples: 100, 10K, 25M, 2G".to_owned()),
    };
    if number.is_empty() {
        return Err("not a size; examples: 100, 10K, 25M, 2G".to_owned());
    }
    let size = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or("too large a number")?;
    if size == 0 {
        return Err("the size must be at least 1".to_owned());
    }
    Ok(size)
}

#[cfg(test)]
mod tests;
