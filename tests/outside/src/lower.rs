//! Case folded characters: `char` for a text in lower case.

use data_io::tokenizer::Char;
use data_io::{BuildTokenizer, Corpus, TextError, Tokenizer, UnknownSymbol};
use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of `lower`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lower {
    /// fold A to Z alone
    pub ascii: bool,
}

impl Part for Lower {
    const NAME: &'static str = "lower";
    const SUMMARY: &'static str = "one symbol for each code point of the text in lower case";
    const SOURCE: &'static str = "Mikolov et al. 2012";
}

impl Lower {
    /// The character in lower case, which may be more than one: İ is an i and a dot above.
    fn fold(self, symbol: char) -> impl Iterator<Item = char> {
        let ascii = self.ascii.then_some(symbol.to_ascii_lowercase());
        let unicode = (!self.ascii).then(|| symbol.to_lowercase());
        ascii.into_iter().chain(unicode.into_iter().flatten())
    }

    fn fold_all(self, text: &str) -> String {
        text.chars().flat_map(|symbol| self.fold(symbol)).collect()
    }
}

impl BuildTokenizer for Lower {
    fn fit(&self, corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError> {
        let folded = corpus.characters()?.into_keys().flat_map(|symbol| self.fold(symbol));
        let chars = Char {}.fit(&folded.collect::<String>().into())?;
        Ok(Box::new(Folded { keys: *self, chars }))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        let is_folded = |symbol: &String| self.fold_all(symbol) == *symbol;
        let chars = Char {}.restore(symbols).filter(|_| symbols.iter().all(is_folded))?;
        Some(Box::new(Folded { keys: *self, chars }))
    }
}

struct Folded {
    keys: Lower,
    chars: Box<dyn Tokenizer>,
}

impl Tokenizer for Folded {
    fn vocab_size(&self) -> usize {
        self.chars.vocab_size()
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
        for (before, symbol) in text.chars().enumerate() {
            for folded in self.keys.fold(symbol) {
                let result = self.chars.encode_into(folded.encode_utf8(&mut [0; 4]), ids);
                // Whoever wrote the text knows the symbol as it was.
                result.map_err(|_| UnknownSymbol { symbol, position: before + 1 })?;
            }
        }
        Ok(())
    }

    fn boundary(&self, text: &str) -> usize {
        text.len()
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.chars.bytes(id)
    }

    fn symbols(&self) -> Vec<String> {
        self.chars.symbols()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(keys: Lower, text: &str) -> Box<dyn Tokenizer> {
        keys.fit(&text.into()).expect("made")
    }

    #[test]
    fn a_text_comes_back_in_lower_case() {
        let tokenizer = fit(Lower::default(), "Ärger im İZ, ΑΣ Β");
        let ids = tokenizer.encode("ÄRGER").expect("known");
        assert_eq!(tokenizer.decode(&ids), "ärger");
        assert_eq!(tokenizer.decode(&tokenizer.encode("ΣΑ İ").expect("known")), "σα i\u{307}");

        let tokenizer = fit(Lower { ascii: true }, "ÄrgeR");
        assert_eq!(tokenizer.symbols(), ["e", "g", "r", "Ä"]);
    }

    #[test]
    fn an_unknown_symbol_is_named_as_it_stands_in_the_text() {
        let tokenizer = fit(Lower::default(), "i\u{307} a");
        let unknown = UnknownSymbol { symbol: 'Q', position: 3 };
        assert_eq!(tokenizer.encode("İaQ"), Err(unknown));
    }

    #[test]
    fn symbols_in_upper_case_are_not_its() {
        let restore = |symbols: &[&str]| {
            let symbols: Vec<_> = symbols.iter().map(ToString::to_string).collect();
            Lower::default().restore(&symbols).is_some()
        };
        assert!(restore(&["a", "b"]));
        assert!(!restore(&["A", "b"]));
        assert!(!restore(&["b", "a"]));
    }
}
