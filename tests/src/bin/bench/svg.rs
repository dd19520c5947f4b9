//! The plot: for each promise, how far the measured ratio is below or above its target.

use std::fmt::Write;

use super::cases::Row;

const LINE: usize = 26;
const LEFT: f64 = 430.0;
const WIDTH: f64 = 400.0;
const TOP: usize = 46;
/// The axis goes from a tenth of the target to ten times it.
const DECADES: f64 = 1.0;

const STYLE: &str = "<style>text{font:13px sans-serif;fill:#1f2328}.n{fill:#59636e}.g{stroke:#d1d9e0}\
.t{stroke:#1f2328;stroke-width:2}.met{fill:#1a7f37}.missed{fill:#cf222e}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.n{fill:#9198a1}.g{stroke:#3d444d}.t{stroke:#f0f6fc}\
.met{fill:#3fb950}.missed{fill:#f85149}}</style>";

/// Draws the rows that have a target and were measured.
pub fn plot(rows: &[Row]) -> String {
    let bars: Vec<(String, f64, f64)> = rows.iter().filter_map(bar).collect();
    let height = TOP + bars.len() * LINE + 14;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 {height}\" role=\"img\">\n\
         <title>Measured ratios against their targets</title>\n{STYLE}\n\
         <text x=\"10\" y=\"20\" class=\"n\">measured ratio ÷ target; left of the line is better than promised</text>\n"
    );
    for (value, label) in [(0.1, "0.1"), (0.3, "0.3"), (1.0, "target"), (3.0, "3"), (10.0, "10")] {
        let (x, class) = (position(value), if label == "target" { "t" } else { "g" });
        let bottom = height - 10;
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.0}\" x2=\"{x:.0}\" y1=\"{TOP}\" y2=\"{bottom}\" class=\"{class}\"/>\
             <text x=\"{x:.0}\" y=\"{}\" class=\"n\" text-anchor=\"middle\">{label}</text>",
            TOP - 6
        );
    }
    for (nth, (label, ratio, target)) in bars.iter().enumerate() {
        let y = TOP + nth * LINE + 4;
        let (here, line) = (position(ratio / target), position(1.0));
        let (x, width) = (here.min(line), (here - line).abs().max(1.0));
        let class = if ratio <= target { "met" } else { "missed" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" class=\"{class}\"/>\
             <text x=\"{:.0}\" y=\"{}\" class=\"n\">{ratio:.2} of {target}</text>",
            LEFT - 12.0,
            y + 13,
            escaped(label),
            LEFT + WIDTH + 8.0,
            y + 13
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(row: &Row) -> Option<(String, f64, f64)> {
    let label = format!("{} : {}", row.case, row.against.replace('`', ""));
    let label = match label.char_indices().nth(66) {
        Some((at, _)) => format!("{}…", &label[..at]),
        None => label,
    };
    Some((label, row.measured.as_ref().ok()?.ratio, row.target?))
}

fn position(value: f64) -> f64 {
    let decades = value.log10().clamp(-DECADES, DECADES);
    LEFT + WIDTH * (decades + DECADES) / (2.0 * DECADES)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
