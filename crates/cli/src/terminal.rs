//! A terminal obeys control characters, and a model's vocabulary may come from anybody.

use std::io::{self, Write};

/// Hands text on to a terminal, with every control character but line ends and tabs written out, as in
/// `\x1b`. The rest comes through to the byte.
pub struct Escaped<W> {
    inner: W,
    /// Whether a byte 0xc2 waits for the next one, with which it may be a control character.
    held: bool,
}

impl<W: Write> Escaped<W> {
    /// Hands on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, held: false }
    }

    fn write_held(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.held) { self.inner.write_all(&[0xc2]) } else { Ok(()) }
    }
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                // U+0080 to U+009F, of which some do what ESC and a letter do.
                0x80..=0x9f if self.held => {
                    self.held = false;
                    write!(self.inner, "\\x{byte:02x}")?;
                }
                b'\n' | b'\t' => {
                    self.write_held()?;
                    self.inner.write_all(&[*byte])?;
                }
                0..=0x1f | 0x7f => {
                    self.write_held()?;
                    write!(self.inner, "\\x{byte:02x}")?;
                }
                0xc2 => {
                    self.write_held()?;
                    self.held = true;
                }
                _ => {
                    self.write_held()?;
                    self.inner.write_all(&[*byte])?;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        // However it is cut.
        for at in 0..=text.len() {
            let mut out = Vec::new();
            let mut escaped = Escaped::new(&mut out);
            escaped.write_all(&text.as_bytes()[..at]).expect("a buffer");
            escaped.write_all(&text.as_bytes()[at..]).expect("a buffer");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected, "cut at {at}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        check("a\n\tb é £ 𝕏 \\", "a\n\tb é £ 𝕏 \\");
        check("\x1b[2J\r\x07\x7f\0", "\\x1b[2J\\x0d\\x07\\x7f\\x00");
        check("\u{9b}31m\u{80}\u{a0}£\u{1f}", "\\x9b31m\\x80\u{a0}£\\x1f");
    }
}
