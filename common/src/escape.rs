//! Bytes of unknown origin to text that is safe on a terminal and in a log.
//!
//! Paths stay bytes everywhere; they are escaped here, at the sink. One escaped name never spans
//! two lines, moves the cursor or changes the writing direction.

use std::fmt::{self, Write};

/// Displays bytes as text: valid UTF-8 without control and direction characters as it is, the rest
/// as `\n`, `\t`, `\r`, `\\`, `\xHH` or `\u{HHHH}`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' => out.write_str("\\n")?,
                    '\r' => out.write_str("\\r")?,
                    '\t' => out.write_str("\\t")?,
                    '\\' => out.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c))?,
                    c if is_unseen(c) => {
                        write!(out, "\\u{{{:x}}}", u32::from(c))?;
                    }
                    c => out.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character does something to a line, rather than to be seen in it.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Direction marks, separators and other characters that change how the rest of a line is shown.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(Escaped("a b/ü-日本.txt".as_bytes()).to_string(), "a b/ü-日本.txt");
    }

    #[test]
    fn nothing_that_moves_the_cursor_survives() {
        assert_eq!(Escaped(b"a\nb\x1b[2Jc\xff\\\x7f").to_string(), "a\\nb\\x1b[2Jc\\xff\\\\\\x7f");
        assert_eq!(
            Escaped("x\u{202e}fdp.exe\u{85}".as_bytes()).to_string(),
            "x\\u{202e}fdp.exe\\u{85}"
        );
    }
}
