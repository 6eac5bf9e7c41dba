//! Bytes that arrive piece by piece, as text.

/// Makes text of the bytes that a model writes, symbol by symbol.
///
/// A sequence that may still become a character is held back until it does. What is not UTF-8
/// becomes U+FFFD where [`String::from_utf8_lossy`] would put it, so the text does not depend on
/// how the bytes were cut.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// The start of a character, between two calls.
    held: Vec<u8>,
}

impl Utf8Stream {
    /// Reads `bytes` and appends to `text` what they complete.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.held.extend_from_slice(bytes);
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_end = done + invalid.len() == self.held.len();
            if invalid.is_empty() || (at_end && may_be_continued(invalid)) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            done += invalid.len();
        }
        self.held.drain(..done);
    }

    /// The bytes of a character that are still held back.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Ends the text: what is still held back will never become a character.
    pub fn finish(&mut self, text: &mut String) {
        if !self.held.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.held.clear();
        }
    }
}

fn may_be_continued(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let mut stream = Utf8Stream::default();
        let mut texts: Vec<String> = Vec::new();
        for piece in pieces {
            let mut text = String::new();
            stream.push(piece, &mut text);
            texts.push(text);
        }
        let mut text = String::new();
        stream.finish(&mut text);
        texts.push(text);
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_start_of_a_character_is_held() {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        stream.push(b"a\xf0\x9f", &mut text);
        assert_eq!((text.as_str(), stream.held()), ("a", &b"\xf0\x9f"[..]));
        stream.push(b"\x98\x80", &mut text);
        assert_eq!((text.as_str(), stream.held()), ("a😀", &b""[..]));
    }

    #[test]
    fn a_character_comes_with_its_last_byte() {
        check(&[b"a", b"\xf0", b"\x9f\x98", b"\x80b"], &["a", "", "", "😀b", ""]);
        check(&[b"\xc3"], &["", "\u{fffd}"]);
        check(&[b"\xc3", b"a"], &["", "\u{fffd}a", ""]);
        check(&[b"\xff", b"\x80\xc3"], &["\u{fffd}", "\u{fffd}", "\u{fffd}"]);
    }

    /// Text with bytes of it removed or replaced, and arbitrary bytes.
    fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
        let damaged = (any::<String>(), prop::collection::vec((any::<usize>(), any::<u8>()), 0..4));
        let damaged = damaged.prop_map(|(text, damage)| {
            let mut bytes = text.into_bytes();
            for (at, byte) in damage {
                match at % (bytes.len() + 1) {
                    at if at == bytes.len() => {}
                    at if byte < 128 => _ = bytes.remove(at),
                    at => bytes[at] = byte,
                }
            }
            bytes
        });
        prop_oneof![damaged, prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

        #[test]
        fn the_text_does_not_depend_on_the_cuts(
            bytes in nearly_utf8(), sizes in prop::collection::vec(1_usize..6, 1..8),
        ) {
            let (mut stream, mut text) = (Utf8Stream::default(), String::new());
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                let (piece, behind) = rest.split_at(rest.len().min(*size));
                stream.push(piece, &mut text);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            stream.finish(&mut text);
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
