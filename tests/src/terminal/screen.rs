//! What a terminal shows of the bytes that were written to it: as much of one as fdscan needs.
//!
//! Pure. Anything else that begins with ESC fails the test, so nothing unforeseen passes for text.

/// Lines as they are seen, from the first one on. Nothing scrolls away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    lines: Vec<Vec<Cell>>,
    row: usize,
    column: usize,
    columns: usize,
    style: String,
}

/// One letter as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The letter.
    pub letter: char,
    /// Parameters of the last Select Graphic Rendition (ECMA-48), as they were written.
    pub style: String,
}

impl Screen {
    /// What is seen after these were written.
    ///
    /// # Panics
    /// On an escape sequence that is not known here.
    #[must_use]
    pub fn of(written: &str, columns: usize) -> Self {
        let mut screen = Self::empty(columns);
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

    fn empty(columns: usize) -> Self {
        Self { lines: vec![Vec::new()], row: 0, column: 0, columns, style: String::new() }
    }

    /// The lines as they are.
    #[must_use]
    pub fn lines(&self) -> &[Vec<Cell>] {
        &self.lines
    }

    /// The lines, without blanks at their ends.
    #[must_use]
    pub fn text(&self) -> Vec<String> {
        let letters = |line: &Vec<Cell>| line.iter().map(|cell| cell.letter).collect::<String>();
        let lines = self.lines.iter().map(letters);
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    fn put(&mut self, letter: char) {
        if self.column >= self.columns {
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        let blank = Cell { letter: ' ', style: String::new() };
        line.resize(line.len().max(self.column + 1), blank);
        line[self.column] = Cell { letter, style: self.style.clone() };
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
            colour if colour.ends_with('m') => {
                colour.trim_matches(['[', 'm']).clone_into(&mut self.style);
            }
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
