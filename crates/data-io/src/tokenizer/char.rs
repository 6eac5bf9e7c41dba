//! One symbol for each Unicode code point of the text, in sorted order.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BuildTokenizer, Tokenizer, UnknownSymbol};

/// `char` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Char {}

impl Part for Char {
    const NAME: &'static str = "char";
    const SUMMARY: &'static str = "one symbol for each code point of the text, in sorted order";
    const SOURCE: &'static str = "min-char-rnn, Karpathy 2015";
}

impl BuildTokenizer for Char {
    fn fit(&self, text: &str) -> Box<dyn Tokenizer> {
        let mut symbols: Vec<char> = Vec::new();
        for symbol in text.chars() {
            if let Err(place) = symbols.binary_search(&symbol) {
                symbols.insert(place, symbol);
            }
        }
        Box::new(CharSet::new(symbols))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        Some(Box::new(CharSet::from_symbols(symbols)?))
    }
}

/// Characters with their places in sorted order.
pub(super) struct CharSet {
    /// Sorted, so that a place is found by bisection.
    chars: Vec<char>,
    /// The same in UTF-8, to lend out.
    strings: Vec<String>,
}

impl CharSet {
    /// The set of `chars`, which are sorted and different.
    pub(super) fn new(chars: Vec<char>) -> Self {
        let strings = chars.iter().map(char::to_string).collect();
        Self { chars, strings }
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
        self.chars.binary_search(&symbol).ok().map(|place| place as u32)
    }
}

impl Tokenizer for CharSet {
    fn vocab_size(&self) -> usize {
        self.chars.len()
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownSymbol> {
        let id = |(before, symbol)| {
            self.find(symbol).ok_or(UnknownSymbol { symbol, position: before + 1 })
        };
        text.chars().enumerate().map(id).collect()
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
        let tokenizer = Char {}.fit("zebra é\n𝕏 a");
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
