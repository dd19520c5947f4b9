//! Screens to an SVG that shows one after the other, and the last one where nothing moves.

use std::fmt::Write;
use std::time::Duration;

use fdbroker_tests::terminal::{Cell, Screen};

const LINE: usize = 18;
const LETTER: f64 = 8.2;
const MARGIN: usize = 14;
const COLUMNS: f64 = 90.0;
/// How long the last one stays.
const REST: Duration = Duration::from_secs(4);

const STYLE: &str = "text{font:13.5px ui-monospace,Menlo,Consolas,monospace;fill:#e6edf3;white-space:pre}\
.red{fill:#ff7b72;font-weight:bold}.green{fill:#7ee787}.yellow{fill:#e3b341}.dim{fill:#8b949e}";

/// The picture; `code` is the exit status.
pub fn moving(command: &str, frames: &[(Duration, Screen)], code: Option<i32>) -> String {
    let mut kept: Vec<&(Duration, Screen)> = Vec::new();
    for frame in frames {
        if kept.last().is_none_or(|last| last.1 != frame.1) {
            kept.push(frame);
        }
    }
    let all = frames.last().map_or(REST, |last| last.0 + REST);
    let lines = kept.iter().map(|frame| frame.1.text().len()).max().unwrap_or(0) + 3;
    let (width, height) = (MARGIN as f64 * 2.0 + COLUMNS * LETTER, MARGIN * 2 + lines * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height}\" role=\"img\">\n\
         <title>fdscan on a terminal</title>\n<style>{STYLE}"
    );
    let share = |time: Duration| 100.0 * time.as_secs_f64() / all.as_secs_f64();
    for (nth, (from, _)) in kept.iter().enumerate() {
        let from = share(*from);
        let _ = match kept.get(nth + 1).map(|next| share(next.0)) {
            Some(to) => write!(
                svg,
                "@keyframes f{nth}{{0%,{to:.2}%{{visibility:hidden}}{from:.2}%{{visibility:visible}}\
                 100%{{visibility:hidden}}}}"
            ),
            None => write!(
                svg,
                "@keyframes f{nth}{{0%{{visibility:hidden}}{from:.2}%,100%{{visibility:visible}}}}"
            ),
        };
    }
    svg.push_str("</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n");
    line(&mut svg, 0, &[(command.to_owned(), "")]);
    for (nth, (_, screen)) in kept.iter().enumerate() {
        let last = nth + 1 == kept.len();
        let seen = if last { "visible" } else { "hidden" };
        let _ = writeln!(
            svg,
            "<g style=\"visibility:{seen};animation:f{nth} {:.2}s step-end infinite\">",
            all.as_secs_f64()
        );
        for (row, cells) in screen.lines().iter().enumerate() {
            line(&mut svg, row + 1, &runs(cells));
        }
        if let Some(code) = code.filter(|_| last) {
            let row = screen.text().iter().rposition(|text| !text.is_empty()).unwrap_or(0) + 2;
            line(&mut svg, row, &[("$ echo $?".to_owned(), "")]);
            line(&mut svg, row + 1, &[(code.to_string(), "")]);
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, row: usize, runs: &[(String, &str)]) {
    if runs.iter().all(|(text, _)| text.trim().is_empty()) {
        return;
    }
    let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{}\">", MARGIN + LINE * (row + 1) - 5);
    for (text, class) in runs {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = match *class {
            "" => write!(svg, "{text}"),
            class => write!(svg, "<tspan class=\"{class}\">{text}</tspan>"),
        };
    }
    svg.push_str("</text>\n");
}

/// Letters of one style together.
fn runs(cells: &[Cell]) -> Vec<(String, &'static str)> {
    let mut runs: Vec<(String, &str)> = Vec::new();
    for cell in cells {
        let class = match cell.style.as_str() {
            "1;31" | "31" => "red",
            "32" => "green",
            "33" => "yellow",
            "2" => "dim",
            _ => "",
        };
        match runs.last_mut() {
            Some((text, last)) if *last == class => text.push(cell.letter),
            _ => runs.push((cell.letter.to_string(), class)),
        }
    }
    runs
}
