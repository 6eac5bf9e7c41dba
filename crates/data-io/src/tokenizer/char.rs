//! One symbol for each Unicode code point of the text, in sorted order.

use std::num::NonZeroU32;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BuildTokenizer, Tokenizer, Unit, UnknownSymbol};
use crate::{Corpus, TextError};

/// `char` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Char {}

impl Part for Char {
    const NAME: &'static str = "char";
    const SUMMARY: &'static str = "one symbol for each code point of the text, in sorted order";
    const SOURCE: &'static str = "min-char-rnn, Karpathy 2015";
}

impl BuildTokenizer for Char {
    fn unit(&self) -> Unit {
        Unit::CHARACTER
    }

    fn fit(&self, corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError> {
        Ok(Box::new(CharSet::new(corpus.characters()?.into_keys().collect())))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        Some(Box::new(CharSet::from_symbols(symbols)?))
    }
}

/// Characters with their places in sorted order.
pub(super) struct CharSet {
    /// One more than the place of each code point up to the largest. Where there is none stands a
    /// zero, of which the system gives pages for free: one emoji makes this half a megabyte long.
    places: Vec<Option<NonZeroU32>>,
    /// The characters in UTF-8, to lend out.
    strings: Vec<String>,
}

impl CharSet {
    /// The set of `chars`, which are sorted and different.
    pub(super) fn new(chars: Vec<char>) -> Self {
        let mut places = vec![None; chars.last().map_or(0, |last| *last as usize + 1)];
        for (symbol, place) in chars.iter().zip(1..) {
            places[*symbol as usize] = NonZeroU32::new(place);
        }
        Self { places, strings: chars.iter().map(char::to_string).collect() }
    }

    /// The set with the given [`Tokenizer::symbols`], `None` if they are not sorted characters.
    pub(super) fn from_symbols(symbols: &[String]) -> Option<Self> {
        let single = |symbol: &String| {
            let mut chars = symbol.chars();
            chars.next().filter(|_| chars.next().is_none())
        };
        let chars: Vec<char> = symbols.iter().map(single).collect::<Option<_>>()?;
        chars.is_sorted_by(|a, b| a < b).then(|| Self::new(chars))
    }

    pub(super) fn find(&self, symbol: char) -> Option<u32> {
        self.places.get(symbol as usize).copied().flatten().map(|place| place.get() - 1)
    }
}

impl Tokenizer for CharSet {
    fn vocab_size(&self) -> usize {
        self.strings.len()
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
        for (before, symbol) in text.chars().enumerate() {
            ids.push(self.find(symbol).ok_or(UnknownSymbol { symbol, position: before + 1 })?);
        }
        Ok(())
    }

    fn boundary(&self, text: &str) -> usize {
        text.len()
    }

    fn count(&self, text: &str) -> Result<usize, UnknownSymbol> {
        Ok(text.chars().count())
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.strings[id as usize].as_bytes()
    }

    fn symbols(&self) -> Vec<String> {
        self.strings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_in_code_point_order() {
        let tokenizer = Char {}.fit(&"zebra é\n𝕏 a".into()).expect("made");
        let expected = ["\n", " ", "a", "b", "e", "r", "z", "é", "𝕏"];
        assert_eq!(tokenizer.symbols(), expected);
        assert_eq!(tokenizer.encode("é\n"), Ok(vec![7, 0]));
        let unknown = UnknownSymbol { symbol: 'q', position: 3 };
        assert_eq!(tokenizer.encode("éaq"), Err(unknown));
    }

    #[test]
    fn foreign_symbols_are_not_restored() {
        let restore = |symbols: &[&str]| {
            let symbols: Vec<_> = symbols.iter().map(ToString::to_string).collect();
            Char {}.restore(&symbols).is_some()
        };
        assert!(restore(&["a", "b"]));
        assert!(!restore(&["b", "a"]));
        assert!(!restore(&["a", "a"]));
        assert!(!restore(&["ab"]));
        assert!(!restore(&[""]));
    }
}
