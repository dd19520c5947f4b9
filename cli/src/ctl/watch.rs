//! The status again and again: redrawn on a terminal, appended elsewhere.
//!
//! Runs as root or as the owner of the broker. A terminal gets its own screen back at the end, also by
//! SIGINT. A broker that goes away is waited for, and that is said.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use fdbroker_common::admin_link::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;

use super::time::{now, utc};
use super::{CtlError, admin, status};
use crate::output::write_line;
use crate::signals::{Signals, end_by};

/// Another screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Asks every so often until a signal comes or nobody reads. The first question must be answered.
pub fn run(dir: &Path, every: Duration, json: bool, out: &mut impl Write) -> Result<u8, CtlError> {
    let first = admin::status(dir)?;
    let signals = Signals::watch();
    let redraws = io::stdout().is_terminal() && !json;
    if redraws {
        out.write_all(ENTER.as_bytes())?;
    }
    let watched = watch(dir, (every, json, redraws), first, signals.as_ref(), out);
    if redraws {
        out.write_all(LEAVE.as_bytes())?;
    }
    out.flush()?;
    watched?;
    Ok(signals.and_then(|signals| signals.caught()).map_or(0, end_by))
}

fn watch(
    dir: &Path,
    (every, json, redraws): (Duration, bool, bool),
    first: Status,
    signals: Option<&Signals>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let mut answer = Ok(first);
    let mut answered = true;
    loop {
        match &answer {
            Ok(status) if json => write_line(out, &status::object(status))?,
            _ if json => {}
            _ => show(&answer, redraws, out)?,
        }
        // What is said to programs is said where it is no object.
        if let (true, true, Err(error)) = (json, answered, &answer) {
            crate::output::complain(&format_args!("fdbrokerctl: {error}; asking again"));
        }
        out.flush()?;
        answered = answer.is_ok();
        if is_over(every, signals) {
            return Ok(());
        }
        answer = admin::status(dir);
        // It will not get better by waiting.
        if matches!(answer, Err(CtlError::Denied(_))) {
            return answer.map(|_| ());
        }
    }
}

/// Waits; whether a signal came meanwhile.
fn is_over(every: Duration, signals: Option<&Signals>) -> bool {
    let Some(signals) = signals else {
        std::thread::sleep(every);
        return false;
    };
    let timeout = Timespec::try_from(every).unwrap_or_default();
    let mut waited = [PollFd::new(signals, PollFlags::IN)];
    let _ = poll(&mut waited, Some(&timeout));
    signals.caught().is_some()
}

fn show(
    answer: &Result<Status, CtlError>,
    redraws: bool,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let at = now();
    let mut text = format!("{}\n", utc(at));
    match answer {
        Ok(status) => text.push_str(&status::table(status, at)),
        Err(error) => text.push_str(&format!("{error}; asking again\n")),
    }
    if redraws {
        let size = tcgetwinsize(io::stdout()).ok();
        let (rows, columns) = size.map_or((0, 0), |size| (size.ws_row, size.ws_col));
        text = screen(&text, rows.into(), columns.into());
    } else {
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    Ok(())
}

/// The lines from the upper left corner on, each cut and wiped to its end, and nothing below them.
fn screen(text: &str, rows: usize, columns: usize) -> String {
    let most = |size: usize, default| if size == 0 { default } else { size };
    let cut = |line: &str| line.chars().take(most(columns, 80)).collect::<String>();
    let lines = text.lines().take(most(rows, 24));
    let lines: Vec<String> = lines.map(|line| format!("{}\x1b[K", cut(line))).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_never_left() {
        assert_eq!(screen("abcdef\ng\nh\n", 2, 3), "\x1b[Habc\x1b[K\r\ng\x1b[K\x1b[J");
        assert_eq!(screen("a\n", 0, 0), "\x1b[Ha\x1b[K\x1b[J");
    }
}
