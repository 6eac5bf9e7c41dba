//! A few lines at the bottom of a terminal that are drawn again and again.
//!
//! indicatif, which had one of them before, takes every character for one column, and does not know how
//! many rows its lines take after the window was made narrower. Here the rows are counted when they are
//! to be cleared, for the width there is then: terminals break lines anew when they are resized.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// At least 1.
    pub columns: usize,
    /// At least 1.
    pub rows: usize,
}

impl Size {
    /// The size of the terminal that standard error is; that of old where it does not tell.
    pub fn of_stderr() -> Self {
        let size = terminal_size::terminal_size_of(io::stderr());
        let size = size.map(|(columns, rows)| (columns.0 as usize, rows.0 as usize));
        match size {
            Some((columns, rows)) if columns != 0 && rows != 0 => Self { columns, rows },
            _ => Self { columns: 80, rows: 24 },
        }
    }

    /// Columns to write in. The last one is left free where there are others: in it terminals differ in
    /// when they go to the next row.
    pub fn width(self) -> usize {
        (self.columns - 1).max(1)
    }
}

/// The lines, the cursor behind the last of them.
#[derive(Debug, Default)]
pub struct Panel {
    /// Columns of each line that is there.
    drawn: Vec<usize>,
}

impl Panel {
    /// Puts `lines`, of which none is wider than the terminal, in the place of those before. Those for
    /// which there is no room are left out.
    ///
    /// # Errors
    /// If the terminal takes no more.
    pub fn draw(&mut self, out: &mut dyn Write, size: Size, lines: &[String]) -> io::Result<()> {
        let lines = &lines[..lines.len().min(size.rows)];
        let text = self.clearing(size) + &lines.join("\n");
        self.drawn = lines.iter().map(|line| line.chars().map(columns).sum()).collect();
        // In one piece, so that the terminal shows nothing half done.
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    /// Removes the lines; what is written next stands in their place.
    ///
    /// # Errors
    /// If the terminal takes no more.
    pub fn clear(&mut self, out: &mut dyn Write, size: Size) -> io::Result<()> {
        let text = self.clearing(size);
        self.drawn.clear();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    /// Moves to where the lines start, and clears all from there on.
    fn clearing(&self, size: Size) -> String {
        let rows = |columns: &usize| columns.div_ceil(size.columns).max(1);
        // What has left the screen cannot be reached any more.
        match self.drawn.iter().map(rows).sum::<usize>().min(size.rows) {
            0 => String::new(),
            1 => "\r\x1b[J".into(),
            rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }
}

/// The most columns that a terminal gives a character. They differ where several make one picture,
/// such as flags and families; too many do no harm.
fn columns(c: char) -> usize {
    match c {
        // The mark by which the character before becomes a picture, and the letters of flags.
        '\u{fe0f}' => 1,
        '\u{1f1e6}'..='\u{1f1ff}' => 2,
        c => c.width().unwrap_or(0),
    }
}

/// Cuts a text into rows of at most `width` columns. A character that is wider is left out.
pub fn break_anywhere(text: &str, width: usize) -> Vec<String> {
    let (mut rows, mut used) = (vec![String::new()], 0);
    for c in text.chars().filter(|c| columns(*c) <= width) {
        if width < used + columns(c) {
            rows.push(String::new());
            used = 0;
        }
        rows.last_mut().expect("there is one").push(c);
        used += columns(c);
    }
    rows
}

/// Puts `fields` into rows of at most `width` columns, several into a row where they fit. A field that
/// is wider is broken between its words, and of a word what fits is shown.
pub fn flow(fields: &[String], width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for field in fields {
        if columns_of(field) <= width {
            push(&mut rows, field, "  ", width);
            continue;
        }
        rows.push(String::new());
        for word in field.split(' ') {
            push(&mut rows, &break_anywhere(word, width)[0], " ", width);
        }
    }
    rows
}

/// Adds a piece to the last row, or begins another.
fn push(rows: &mut Vec<String>, piece: &str, space: &str, width: usize) {
    match rows.last_mut() {
        Some(row) if row.is_empty() => row.push_str(piece),
        Some(row) if columns_of(row) + space.len() + columns_of(piece) <= width => {
            row.push_str(space);
            row.push_str(piece);
        }
        _ => rows.push(piece.to_owned()),
    }
}

fn columns_of(text: &str) -> usize {
    text.chars().map(columns).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_never_wider_than_they_may_be() {
        let text = "ab 汉字 🙂 e\u{301} 🇩🇪 ❤\u{fe0f}";
        for width in 1..30 {
            for row in break_anywhere(text, width).iter().chain(&flow(&[text.into()], width)) {
                assert!(columns_of(row) <= width, "{width}: {row:?}");
            }
        }
        assert_eq!(break_anywhere("汉字x", 3), ["汉", "字x"]);
        assert_eq!(break_anywhere("汉x", 1), ["x"]);
        assert_eq!(break_anywhere("e\u{301}e\u{301}", 1), ["e\u{301}", "e\u{301}"]);
        assert_eq!(break_anywhere("", 5), [""]);
    }

    #[test]
    fn fields_stand_side_by_side_where_they_fit() {
        let check = |width, expected: &[&str]| {
            assert_eq!(flow(&["a b".into(), "loss 2.5".into(), "x".into()], width), expected);
        };
        check(16, &["a b  loss 2.5  x"]);
        check(15, &["a b  loss 2.5", "x"]);
        check(8, &["a b", "loss 2.5", "x"]);
        check(5, &["a b", "loss", "2.5", "x"]);
        check(2, &["a", "b", "lo", "2.", "x"]);
    }

    /// What a terminal shows, without the rows at its end that are empty.
    fn screen(terminal: &vt100::Parser) -> String {
        terminal.screen().contents().trim_end_matches('\n').to_owned()
    }

    #[test]
    fn lines_replace_those_before_and_leave_what_is_above() {
        let size = Size { columns: 12, rows: 5 };
        let mut terminal = {
            let [rows, columns] = [5, 12].map(|n| n.try_into().expect("not 0"));
            vt100::Parser::new(rows, columns, 0)
        };
        let (mut panel, mut out) = (Panel::default(), b"above\r\n".to_vec());
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut show = |panel: &mut Panel, text: &[&str], out: &mut Vec<u8>| {
            panel.draw(out, size, &lines(text)).expect("a buffer");
            // As a terminal driver does it.
            let text = String::from_utf8(std::mem::take(out)).expect("UTF-8").replace('\n', "\r\n");
            terminal.process(text.as_bytes());
            screen(&terminal)
        };
        assert_eq!(
            show(&mut panel, &["汉字 one", "two", "three"], &mut out),
            "above\n汉字 one\ntwo\nthree"
        );
        assert_eq!(show(&mut panel, &["four", "five"], &mut out), "above\nfour\nfive");
        panel.clear(&mut out, size).expect("a buffer");
        out.extend(b"between\n");
        assert_eq!(show(&mut panel, &["six"], &mut out), "above\nbetween\nsix");
        // No more lines than the terminal has rows, or the next ones could not replace them.
        let many = ["1", "2", "3", "4", "5", "6", "7"];
        assert_eq!(show(&mut panel, &many, &mut out), "1\n2\n3\n4\n5");
        assert_eq!(show(&mut panel, &["end"], &mut out), "end");
    }

    #[test]
    fn lines_that_a_narrower_window_has_broken_are_cleared_too() {
        let mut panel = Panel::default();
        let wide = Size { columns: 80, rows: 24 };
        panel.draw(&mut Vec::new(), wide, &["x".repeat(25), "y".repeat(8)]).expect("a buffer");
        // Three rows and one.
        let mut out = Vec::new();
        panel.clear(&mut out, Size { columns: 10, rows: 24 }).expect("a buffer");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "\r\x1b[3A\x1b[J");
    }
}
