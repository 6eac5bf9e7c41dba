//! Tokenizers, one file each: what a symbol of the text is.

mod byte;
mod char;
mod char_byte;
mod utf8_stream;

use registry::{Entry, Part, Registry};

pub use self::byte::Byte;
pub use self::char::Char;
pub use self::char_byte::CharByte;
pub use self::utf8_stream::Utf8Stream;
use crate::{Corpus, TextError};

/// A vocabulary, and the way between text and indices into it.
pub trait Tokenizer: Send + Sync {
    /// Number of different symbols, V.
    fn vocab_size(&self) -> usize;

    /// Adds the indices of `text` to `ids`, each below [`vocab_size`](Self::vocab_size). Training
    /// calls it again and again, and leaves enough room in `ids`.
    ///
    /// # Errors
    /// On a symbol that the vocabulary does not have.
    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol>;

    /// The length of the longest start of `text` whose indices do not depend on what follows: all of
    /// it, where each character is encoded on its own. There the text may be cut. Each document, and
    /// what each file has of one, is encoded on its own in any case.
    fn boundary(&self, text: &str) -> usize;

    /// How many indices `text` has. To count them may be quicker than to find them, and overlook a
    /// symbol that the vocabulary does not have.
    ///
    /// # Errors
    /// On a symbol that the vocabulary does not have.
    fn count(&self, text: &str) -> Result<usize, UnknownSymbol> {
        Ok(self.encode(text)?.len())
    }

    /// The indices of `text`.
    ///
    /// # Errors
    /// On a symbol that the vocabulary does not have.
    fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownSymbol> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids)?;
        Ok(ids)
    }

    /// The part of a text in UTF-8 that an index stands for: a character or more, or less than one.
    /// A [`Utf8Stream`] makes text of such parts as they come.
    ///
    /// # Panics
    /// If `id` is not below [`vocab_size`](Self::vocab_size).
    fn bytes(&self, id: u32) -> &[u8];

    /// The symbols in the order of their indices: what a checkpoint keeps, and
    /// [`BuildTokenizer::restore`] takes.
    fn symbols(&self) -> Vec<String>;

    /// The text of many indices. Where a model wrote bytes that are no UTF-8 it has U+FFFD.
    ///
    /// # Panics
    /// If an index is not below [`vocab_size`](Self::vocab_size).
    fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A symbol that is not in the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model never saw {symbol:?}, character {position} of it")]
pub struct UnknownSymbol {
    /// The symbol.
    pub symbol: char,
    /// Which character of the text it is, from 1.
    pub position: usize,
}

/// What a symbol is called where symbols are counted, and where a figure is one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// As in "nats a character".
    pub one: &'static str,
    /// As in "900 characters".
    pub many: &'static str,
    /// As in "nats/char" and "chars/s".
    pub short: &'static str,
}

impl Default for Unit {
    fn default() -> Self {
        Self::CHARACTER
    }
}

impl Unit {
    /// Where each symbol is a character.
    pub const CHARACTER: Self = Self { one: "character", many: "characters", short: "char" };
    /// Where each is a byte.
    pub const BYTE: Self = Self { one: "byte", many: "bytes", short: "byte" };
    /// Where it may be more or less than a character.
    pub const SYMBOL: Self = Self { one: "symbol", many: "symbols", short: "symbol" };

    /// What figures of several models have in common.
    pub fn of_all(units: impl IntoIterator<Item = Self>) -> Self {
        let mut units = units.into_iter();
        let first = units.next().unwrap_or(Self::SYMBOL);
        if units.all(|unit| unit == first) { first } else { Self::SYMBOL }
    }
}

/// A kind of tokenizer: what `data.tokenizer` names.
pub trait BuildTokenizer: Send + Sync {
    /// What its symbols are.
    fn unit(&self) -> Unit {
        Unit::SYMBOL
    }

    /// The tokenizer whose vocabulary is that of `corpus`.
    ///
    /// # Errors
    /// If the text cannot be read.
    fn fit(&self, corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError>;

    /// The tokenizer with the given [`Tokenizer::symbols`], `None` if they cannot be its.
    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>>;
}

/// The entry of tokenizer `P`.
pub fn entry<P: Part + BuildTokenizer>() -> Entry<dyn BuildTokenizer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every tokenizer this crate offers, by the name a config uses.
pub fn builtin_tokenizers() -> Registry<dyn BuildTokenizer> {
    Registry::new("tokenizer", [entry::<Byte>(), entry::<Char>(), entry::<CharByte>()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use registry::{Chosen, Document};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Every kind of text that has broken somebody's tokenizer.
    const TEXTS: [&str; 9] = [
        "",
        "To be, or not to be: that is the question.\n",
        "Мой дядя самых честных правил,\nКогда не в шутку занемог — «ё».\n",
        "却说那女娲氏炼石补天之时，于大荒山无稽崖炼成高十二丈。\u{e000}\u{3000}\u{3000}",
        "family 👨\u{200d}👩\u{200d}👧, flag 🇺🇳, heart ❤\u{fe0f}, skin 👍🏽\n",
        "e\u{301} is not é, nor is a\u{308}\u{323}",
        "one\r\ntwo\r\n\r\n\ttabs\rand a bare return",
        "\u{feff}mark, nul \0, last \u{10ffff}, \u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}",
        "<0x0A><0x00>\n\0<unk>",
    ];

    fn choose(registry: &Registry<dyn BuildTokenizer>, name: &str) -> Chosen<dyn BuildTokenizer> {
        let document = Document::new("config", format!("tokenizer = \"{name}\""), [""; 0]);
        let part = document.parse().and_then(|mut root| root.part("tokenizer", ""));
        part.and_then(|part| registry.choose(part)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What every tokenizer has to do with the text it was made from.
    fn check_round_trip(name: &str, builder: &dyn BuildTokenizer, text: &str) {
        let fitted = builder.fit(&text.into()).expect("made");
        let ids = fitted.encode(text).expect("its own text");
        assert_eq!(fitted.count(text), Ok(ids.len()), "{name}, {text:?}");
        let mut in_two = Vec::new();
        for end in 0..=text.len() {
            if text.is_char_boundary(end) {
                let (start, rest) = text.split_at(fitted.boundary(&text[..end]));
                in_two.clear();
                fitted.encode_into(start, &mut in_two).expect("its own text");
                fitted.encode_into(rest, &mut in_two).expect("its own text");
                assert_eq!(in_two, ids, "{name}, {text:?} up to {end}");
            }
        }
        assert!(ids.iter().all(|id| (*id as usize) < fitted.vocab_size()), "{name}, {text:?}");

        let symbols = fitted.symbols();
        assert_eq!(symbols.len(), fitted.vocab_size(), "{name}, {text:?}");
        let mut different = symbols.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), symbols.len(), "{name}, {text:?}");

        let json = serde_json::to_string(&symbols).expect("strings");
        let symbols: Vec<String> = serde_json::from_str(&json).expect("its own JSON");
        let restored = builder.restore(&symbols).expect("its own symbols");
        assert_eq!(restored.vocab_size(), fitted.vocab_size(), "{name}, {text:?}");
        assert_eq!(restored.symbols(), symbols, "{name}, {text:?}");
        assert_eq!(restored.encode(text), Ok(ids.clone()), "{name}, {text:?}");
        assert_eq!(restored.decode(&ids), text, "{name}");

        let (mut stream, mut streamed) = (Utf8Stream::default(), String::new());
        for id in &ids {
            stream.push(restored.bytes(*id), &mut streamed);
        }
        assert_eq!(streamed, text, "{name}");
    }

    #[test]
    fn every_tokenizer_gives_back_the_text_it_was_made_from() {
        let registry = builtin_tokenizers();
        for entry in registry.entries() {
            let builder = choose(&registry, entry.name);
            for text in TEXTS {
                check_round_trip(entry.name, &*builder, text);
            }
            check_round_trip(entry.name, &*builder, &TEXTS.concat());
        }
    }

    #[test]
    fn no_text_is_unknown_to_a_tokenizer_with_bytes() {
        let registry = builtin_tokenizers();
        for name in ["byte", "char_byte"] {
            let tokenizer = choose(&registry, name).fit(&"one line\n".into()).expect("made");
            for text in TEXTS {
                let ids = tokenizer.encode(text).expect("any text");
                assert_eq!(tokenizer.decode(&ids), text, "{name}");
            }
        }
    }

    #[test]
    fn symbols_of_one_tokenizer_are_foreign_to_the_others() {
        let registry = builtin_tokenizers();
        for theirs in registry.entries() {
            let fitted = choose(&registry, theirs.name).fit(&"abc abc".into());
            let symbols = fitted.expect("made").symbols();
            for ours in registry.entries() {
                let restored = choose(&registry, ours.name).restore(&symbols);
                // Bytes without a character are a vocabulary of `char_byte` as well.
                let fits =
                    ours.name == theirs.name || (ours.name, theirs.name) == ("char_byte", "byte");
                assert_eq!(restored.is_some(), fits, "{} from {}", ours.name, theirs.name);
            }
        }
    }

    /// Words and what is between them: a tokenizer of another crate.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct Words {}

    impl Part for Words {
        const NAME: &'static str = "words";
        const SUMMARY: &'static str = "one symbol for each word";
        const SOURCE: &'static str = "this test";
    }

    impl BuildTokenizer for Words {
        fn fit(&self, corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError> {
            let text = corpus.text()?;
            let words: std::collections::BTreeSet<_> = text.split_inclusive(' ').collect();
            Ok(Box::new(WordList(words.into_iter().map(str::to_owned).collect())))
        }

        fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
            Some(Box::new(WordList(symbols.to_vec())))
        }
    }

    struct WordList(Vec<String>);

    impl Tokenizer for WordList {
        fn vocab_size(&self) -> usize {
            self.0.len()
        }
        fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
            let id = |word: &str| self.0.iter().position(|known| known == word);
            let unknown = UnknownSymbol { symbol: ' ', position: 1 };
            for word in text.split_inclusive(' ') {
                ids.push(id(word).ok_or(unknown.clone())? as u32);
            }
            Ok(())
        }
        fn boundary(&self, text: &str) -> usize {
            text.rfind(' ').map_or(0, |space| space + 1)
        }
        fn bytes(&self, id: u32) -> &[u8] {
            self.0[id as usize].as_bytes()
        }
        fn symbols(&self) -> Vec<String> {
            self.0.clone()
        }
    }

    #[test]
    fn a_tokenizer_from_outside_is_chosen_by_its_name() {
        let mut registry = builtin_tokenizers();
        registry.register(entry::<Words>());
        let words = choose(&registry, "words");
        let tokenizer = words.fit(&"a rose is a rose is ".into()).expect("made");
        assert_eq!(tokenizer.encode("a rose is a rose is "), Ok(vec![0, 2, 1, 0, 2, 1]));
        assert_eq!(tokenizer.decode(&[2, 1]), "rose is ");
    }

    proptest! {
        #[test]
        fn every_tokenizer_gives_back_arbitrary_text(text in any::<String>()) {
            let registry = builtin_tokenizers();
            for entry in registry.entries() {
                check_round_trip(entry.name, &*choose(&registry, entry.name), &text);
            }
        }
    }
}
