//! A symbol for each frequent code point of the text, and the bytes of all others.
//!
//! The 256 bytes come first in the vocabulary, then the characters in sorted order. A character
//! without a symbol, because the text has it too seldom or not at all, is the symbols of its UTF-8
//! bytes. In a text of Chinese, where most of 4,500 characters are rare, that keeps the vocabulary
//! small; and no prime is ever unknown.

use registry::Part;
use registry::range::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::byte::{ALL_BYTES, BYTE_SYMBOLS};
use super::char::CharSet;
use super::{BuildTokenizer, Tokenizer, UnknownSymbol};
use crate::{Corpus, TextError};

/// Keys of `char_byte`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CharByte {
    /// occurrences in the text from which on a character has a symbol of its own; with 1 no byte is
    /// ever seen in training
    pub min_count: Size,
}

impl Default for CharByte {
    fn default() -> Self {
        Self { min_count: Size::new(2) }
    }
}

impl Part for CharByte {
    const NAME: &'static str = "char_byte";
    const SUMMARY: &'static str =
        "`char` for frequent code points, bytes for the rest; reads every text";
    const SOURCE: &'static str = "byte fallback of SentencePiece, Kudo & Richardson 2018";
}

impl BuildTokenizer for CharByte {
    fn fit(&self, corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError> {
        let mut counts = corpus.characters()?;
        counts.retain(|_, count| self.min_count.as_usize() <= *count);
        Ok(Box::new(CharsAndBytes { chars: CharSet::new(counts.into_keys().collect()) }))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        let (bytes, chars) = symbols.split_at_checked(ALL_BYTES.len())?;
        if bytes != *BYTE_SYMBOLS {
            return None;
        }
        Some(Box::new(CharsAndBytes { chars: CharSet::from_symbols(chars)? }))
    }
}

struct CharsAndBytes {
    /// The characters with a symbol; the first has the index after the last byte's.
    chars: CharSet,
}

impl Tokenizer for CharsAndBytes {
    fn vocab_size(&self) -> usize {
        ALL_BYTES.len() + self.chars.vocab_size()
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
        for symbol in text.chars() {
            match self.chars.find(symbol) {
                Some(place) => ids.push(ALL_BYTES.len() as u32 + place),
                None => ids.extend(symbol.encode_utf8(&mut [0; 4]).bytes().map(u32::from)),
            }
        }
        Ok(())
    }

    fn boundary(&self, text: &str) -> usize {
        text.len()
    }

    fn count(&self, text: &str) -> Result<usize, UnknownSymbol> {
        let len = |symbol: char| self.chars.find(symbol).map_or(symbol.len_utf8(), |_| 1);
        Ok(text.chars().map(len).sum())
    }

    fn bytes(&self, id: u32) -> &[u8] {
        match id.checked_sub(ALL_BYTES.len() as u32) {
            None => std::slice::from_ref(&ALL_BYTES[id as usize]),
            Some(place) => self.chars.bytes(place),
        }
    }

    fn symbols(&self) -> Vec<String> {
        [BYTE_SYMBOLS.clone(), self.chars.symbols()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(min_count: i64, text: &str) -> Box<dyn Tokenizer> {
        CharByte { min_count: Size::new(min_count) }.fit(&text.into()).expect("made")
    }

    #[test]
    fn a_character_with_fewer_occurrences_is_its_bytes() {
        let tokenizer = fit(2, "bébéaz");
        assert_eq!(tokenizer.symbols()[256..], ["b", "é"]);
        assert_eq!(tokenizer.encode("éba"), Ok(vec![257, 256, 97]));
        assert_eq!(tokenizer.encode("ü"), Ok(vec![0xc3, 0xbc]));
        assert_eq!(fit(3, "bébéaz").vocab_size(), 256);
        assert_eq!(fit(1, "bébéaz").vocab_size(), 260);
    }

    #[test]
    fn a_byte_in_angle_brackets_is_text_like_other() {
        let text = "<0x0A><0x0A>\n\n";
        let tokenizer = fit(2, text);
        let ids = tokenizer.encode(text).expect("any text");
        assert_eq!(ids.len(), 14);
        assert_eq!(tokenizer.decode(&ids), text);
        assert!(CharByte::default().restore(&tokenizer.symbols()).is_some());
    }

    #[test]
    fn foreign_symbols_are_not_restored() {
        let restore = |chars: &[&str]| {
            let chars: Vec<_> = chars.iter().map(ToString::to_string).collect();
            CharByte::default().restore(&[BYTE_SYMBOLS.clone(), chars].concat()).is_some()
        };
        assert!(restore(&[]) && restore(&["a", "é"]));
        assert!(!restore(&["é", "a"]) && !restore(&["a", "a"]) && !restore(&["<0x0A>"]));
        assert!(CharByte::default().restore(&["a".into()]).is_none());
        assert!(CharByte::default().restore(&vec!["a".into(); 256]).is_none());
    }
}
