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
        Box::new(Chars::new(symbols))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        let single = |symbol: &String| {
            let mut chars = symbol.chars();
            chars.next().filter(|_| chars.next().is_none())
        };
        let symbols: Vec<char> = symbols.iter().map(single).collect::<Option<_>>()?;
        symbols
            .is_sorted_by(|a, b| a < b)
            .then(|| Box::new(Chars::new(symbols)) as Box<dyn Tokenizer>)
    }
}

struct Chars {
    /// Sorted, so that an index is found by bisection.
    symbols: Vec<char>,
    /// The same as strings, to lend out.
    strings: Vec<String>,
}

impl Chars {
    fn new(symbols: Vec<char>) -> Self {
        let strings = symbols.iter().map(char::to_string).collect();
        Self { symbols, strings }
    }
}

impl Tokenizer for Chars {
    fn vocab_size(&self) -> usize {
        self.symbols.len()
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownSymbol> {
        let id = |(before, symbol)| match self.symbols.binary_search(&symbol) {
            Ok(id) => Ok(id as u32),
            Err(_) => Err(UnknownSymbol { symbol, position: before + 1 }),
        };
        text.chars().enumerate().map(id).collect()
    }

    fn decode(&self, id: u32) -> &str {
        &self.strings[id as usize]
    }

    fn symbols(&self) -> Vec<String> {
        self.strings.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn text_survives_the_way_there_and_back(text in any::<String>()) {
            let fitted = Char {}.fit(&text);
            let restored = Char {}.restore(&fitted.symbols()).expect("its own symbols");
            let ids = fitted.encode(&text).expect("its own text");
            prop_assert!(ids.iter().all(|id| (*id as usize) < fitted.vocab_size()));
            let back: String = ids.iter().map(|id| restored.decode(*id)).collect();
            prop_assert_eq!(back, text);
        }
    }
}
