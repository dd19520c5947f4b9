//! Takes docs/antivirus-example.md apart into what can be checked.

use std::fs;
use std::path::{Path, PathBuf};

/// The text between two fences.
pub struct Block {
    /// What stands behind the opening fence.
    pub kind: String,
    /// Where it begins on the page.
    pub line: usize,
    /// Its lines.
    pub lines: Vec<String>,
}

/// A command and what it says, as the page shows it.
pub struct Transcript {
    /// `$`, `#`, `1$` or `2$`.
    pub prompt: String,
    /// Program and arguments.
    pub words: Vec<String>,
    /// Every line of output.
    pub output: Vec<String>,
    /// The output ends with the user's `^C`.
    pub interrupted: bool,
    /// Where it begins on the page.
    pub line: usize,
}

/// The top directory of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap().to_path_buf()
}

/// The whole page.
pub fn text() -> String {
    fs::read_to_string(workspace().join("docs/antivirus-example.md")).unwrap()
}

/// All fenced blocks of one kind, in order.
pub fn blocks(kind: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text().lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                open = true;
                found.push(Block { kind: info.to_string(), line: number + 1, lines: Vec::new() });
            }
            (Some(_), true) => open = false,
            (None, true) => found.last_mut().unwrap().lines.push(line.to_string()),
            (None, false) => {}
        }
    }
    assert!(!open, "the last block is not closed");
    found.retain(|block| block.kind == kind);
    assert!(!found.is_empty(), "no {kind} block on the page");
    found
}

/// All console blocks, in order.
pub fn transcripts() -> Vec<Transcript> {
    blocks("console").into_iter().map(transcript).collect()
}

/// The page's only transcript of a command with this prompt.
pub fn the_transcript(prompt: &str, program: &str) -> Transcript {
    let mut all = transcripts();
    all.retain(|shown| shown.prompt == prompt && shown.words == [program]);
    assert_eq!(all.len(), 1, "transcripts of {prompt} {program}");
    all.remove(0)
}

fn transcript(block: Block) -> Transcript {
    let mut lines = block.lines.into_iter();
    let command = lines.next().unwrap();
    let mut words = command.split_whitespace().map(str::to_string);
    let prompt = words.next().unwrap();
    let words = words.collect();
    let mut output: Vec<String> = lines.collect();
    let interrupted = output.last().is_some_and(|line| line == "^C");
    if interrupted {
        output.pop();
    }
    Transcript { prompt, words, output, interrupted, line: block.line }
}

/// Code without what a formatter may change: white space and a comma or semicolon
/// before a closing bracket.
pub fn squeezed<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let dense: String = lines.flat_map(str::split_whitespace).collect();
    dense.replace(",)", ")").replace(",]", "]").replace(",}", "}").replace(";}", "}")
}
