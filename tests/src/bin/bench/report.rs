//! Rows as a table for the terminal, and as one with a plot for the page.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::Settings;
use super::cases::Row;
use super::peers::Peer;
use super::svg;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Everything that is told.
pub struct Page<'a> {
    rows: &'a [Row],
    about: String,
}

impl<'a> Page<'a> {
    pub fn new(rows: &'a [Row], settings: &Settings) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("unknown processor", |(_, model)| model);
        let count = std::thread::available_parallelism().map_or(0, usize::from);
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
        let date = date.map(|output| output.stdout).unwrap_or_default();
        let date = String::from_utf8_lossy(&date).trim().to_owned();
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().unwrap_or_default();
        let versions = Peer::ALL.iter().filter_map(|peer| Some((peer, peer.version()?)));
        let versions = versions.map(|(peer, version)| format!("`{}` is {version}", peer.name()));
        let versions = versions.collect::<Vec<_>>().join("; ");
        let about = format!(
            "Measured on {date}: {count} processors ({model}), Linux {}, load average {load} at the end, {} rounds. {versions}.",
            read("/proc/sys/kernel/osrelease"),
            settings.runs
        );
        Self { rows, about }
    }

    /// The table, in a form that both people and Markdown understand.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.about);
        let head = ["fdbroker", "against", "ratio", "target", "", "range", "fdbroker", "other"];
        let body: Vec<[String; 8]> = self.rows.iter().map(cells).collect();
        let width = |column: usize| {
            let cells = body.iter().map(|cells| cells[column].chars().count());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut line = |cells: &[String]| {
            for (cell, width) in cells.iter().zip(&widths) {
                let pad = width - cell.chars().count();
                write!(text, "| {cell}{} ", " ".repeat(pad)).expect("memory");
            }
            text.push_str("|\n");
        };
        line(&head.map(str::to_owned));
        line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
        body.iter().for_each(|cells| line(cells));
        let missing = Peer::ALL.iter().filter(|peer| peer.path().is_none());
        for peer in missing {
            writeln!(text, "\n`{}` is not installed here: `{}`.", peer.name(), peer.remedy())
                .expect("memory");
        }
        text
    }

    /// Puts table and plot into the documentation.
    pub fn write(&self, docs: &Path) {
        let path = docs.join("performance.md");
        let page = fs::read_to_string(&path).expect("performance.md");
        let (before, rest) = page.split_once(BEGIN).expect("a mark where the table begins");
        let (_, after) = rest.split_once(END).expect("a mark where the table ends");
        let table = self.text();
        let page = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
        fs::write(&path, page).expect("write");
        fs::write(docs.join("performance.svg"), svg::plot(self.rows)).expect("write");
    }
}

fn cells(row: &Row) -> [String; 8] {
    let target = row.target.map_or_else(|| "—".to_owned(), |target| format!("≤ {target}"));
    let (case, against) = (row.case.to_owned(), row.against.to_owned());
    match &row.measured {
        Err(reason) => {
            let [ratio, word, nothing] = ["not measured here", "", ""].map(str::to_owned);
            [case, against, ratio, target, word, nothing.clone(), nothing, reason.clone()]
        }
        Ok(measured) => {
            let met = |target| if measured.ratio <= target { "met" } else { "**missed**" };
            let range = measured.range.map(|(low, high)| format!("{low:.2}–{high:.2}"));
            let ratio = if measured.ratio < 0.1 {
                format!("{:.3}", measured.ratio)
            } else {
                format!("{:.2}", measured.ratio)
            };
            [
                case,
                against,
                ratio,
                target,
                row.target.map_or("", met).to_owned(),
                range.unwrap_or_default(),
                measured.ours.clone(),
                measured.theirs.clone(),
            ]
        }
    }
}
