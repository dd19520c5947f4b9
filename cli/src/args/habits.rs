//! What those try who come from clamscan, clamdscan, yr or ripgrep, and what does the same here.
//!
//! Pure. Options that ask for what is done anyway are taken and do nothing; to all others there is an
//! answer of one line, because half of an option is worse than none.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options, and the answer. Those that end in `-` stand for all that begin so.
const ANSWERS: [(&[&str], &str); 26] = [
    (
        &["--max-scansize", "--skip-larger"],
        "--max-filesize SIZE bounds each file, and there is nothing to be unpacked",
    ),
    (
        &["--max-files", "--max-recursion", "--max-rechwp3", "--max-embeddedpe"],
        "archives are not unpacked, so there is nothing to be bounded but --max-filesize",
    ),
    (&["--max-dir-recursion", "--max-depth"], "directories are scanned with all that is in them"),
    (&["-d", "--database"], "rules come from the broker, or with --rules DIR from a directory"),
    (&["-C", "--compiled-rules"], "rules are read as sources, with --rules DIR"),
    (
        &["-l", "--log", "--files-with-matches"],
        "-i tells matching files alone; write to a file with `fdscan PATH > FILE`",
    ),
    (&["--move", "--copy", "--remove"], "fdscan changes no file; --json has the paths"),
    (&["--exclude-dir", "--glob", "--iglob"], "--exclude GLOB leaves out files and directories"),
    (
        &["--include", "--include-dir", "-t", "--type"],
        "name the files, or list them with --files-from FILE",
    ),
    (&["--scan-list"], "--files-from FILE is a list of files"),
    (
        &["--follow-dir-symlinks", "--follow-file-symlinks"],
        "-L follows symbolic links; without it those in directories are skipped",
    ),
    (
        &["--cross-fs", "-x"],
        "--one-file-system stays on one file system; without it all are scanned",
    ),
    (&["-o", "--suppress-ok-results"], "-i tells matching files alone"),
    (&["-c", "--config-file"], "--runtime-dir DIR says which broker is asked"),
    (&["--reload"], "`fdbrokerctl reload` reads the rules again"),
    (&["--ping", "--wait"], "`fdbrokerctl ping` asks whether the broker is well"),
    (&["-p", "-j", "--threads", "--max-threads"], "the broker decides: `fdbroker --workers N`"),
    (&["-a"], "--timeout SECONDS bounds the time for a file"),
    (&["--max-scantime", "--max-iconspe"], "--timeout SECONDS bounds the time for a file"),
    (&["--output-format", "--gen-json"], "--json writes one object a line"),
    (
        &["-e", "--print-namespace"],
        "of rules the names are told; -m, -g and -s tell metadata, tags and matched strings",
    ),
    (&["-n", "--negate"], "--json tells every file; those without a match are `clean`"),
    (&["--tag", "--define", "--module-data"], "all rules are used as they are"),
    (&["--tempdir", "--leave-temps"], "no temporary files are written"),
    (
        &["--no-mmap", "-k", "--bell", "-w", "--no-warnings"],
        "there is no such choice; leave it out",
    ),
    (
        &[
            "--scan-",
            "--alert-",
            "--detect-",
            "--heuristic-",
            "--bytecode-",
            "--phishing-",
            "--pcre-",
        ],
        "the rules decide what is found, and how",
    ),
];

/// An error of one line for an option that belongs elsewhere; else the error as it is.
pub(super) fn answer(error: Error) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let is_it = |known: &&str| match known.strip_prefix("--").and_then(|it| it.strip_suffix('-')) {
        Some(beginning) => option.strip_prefix("--").is_some_and(|it| it.starts_with(beginning)),
        None => known == option,
    };
    match ANSWERS.iter().find(|(options, _)| options.iter().any(is_it)) {
        Some((_, answer)) => {
            let text = format!("fdscan has no option {option}: {answer}\n");
            Error::raw(ErrorKind::UnknownArgument, text)
        }
        None => error,
    }
}
