//! What a terminal shows of the bytes that were written to it: as much of one as fdscan needs.
//!
//! Pure. Anything else that begins with ESC fails the test, so nothing unforeseen passes for text.

/// Lines as they are seen, from the first one on. Nothing scrolls away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    columns: usize,
}

impl Screen {
    /// What is seen after these were written.
    ///
    /// # Panics
    /// On an escape sequence that is not known here.
    #[must_use]
    pub fn of(written: &str, columns: usize) -> Self {
        let mut screen = Self { lines: vec![Vec::new()], row: 0, column: 0, columns };
        let mut rest = written.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '\r' => screen.column = 0,
                '\n' => screen.down(),
                '\x1b' => screen.escape(&rest.by_ref().take_until_end()),
                letter => screen.put(letter),
            }
        }
        screen
    }

    /// The lines, without blanks at their ends.
    #[must_use]
    pub fn text(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|line| line.iter().collect::<String>());
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    fn put(&mut self, letter: char) {
        if self.column >= self.columns {
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = letter;
        self.column += 1;
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn escape(&mut self, sequence: &str) {
        match sequence {
            "[J" => {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].truncate(self.column);
            }
            colour if colour.ends_with('m') => {}
            other => panic!("an escape sequence that nobody expects: {other:?}"),
        }
    }
}

/// The rest of an escape sequence.
trait TakeUntilEnd {
    fn take_until_end(self) -> String;
}

impl<I: Iterator<Item = char>> TakeUntilEnd for I {
    fn take_until_end(self) -> String {
        let mut sequence = String::new();
        for letter in self {
            sequence.push(letter);
            if letter.is_ascii_alphabetic() {
                break;
            }
        }
        sequence
    }
}

#[cfg(test)]
mod tests {
    use super::Screen;

    #[test]
    fn it_wipes_overwrites_and_wraps() {
        assert_eq!(Screen::of("abc\r\x1b[Jde\r\n\x1b[1;31mf\x1b[0m", 80).text(), ["de", "f"]);
        assert_eq!(Screen::of("abcde\r\nf", 3).text(), ["abc", "de", "f"]);
        assert_eq!(Screen::of("abc\rx", 80).text(), ["xbc"]);
    }
}
