//! Tokenizers, one file each: what a symbol of the text is.

mod char;

use registry::{Entry, Part, Registry};

pub use self::char::Char;

/// A vocabulary, and the way between text and indices into it.
pub trait Tokenizer: Send + Sync {
    /// Number of different symbols, V.
    fn vocab_size(&self) -> usize;

    /// The indices of `text`, each below [`vocab_size`](Self::vocab_size).
    ///
    /// # Errors
    /// On a symbol that the vocabulary does not have.
    fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownSymbol>;

    /// The text that an index stands for.
    ///
    /// # Panics
    /// If `id` is not below [`vocab_size`](Self::vocab_size).
    fn decode(&self, id: u32) -> &str;

    /// The symbols in the order of their indices: what a checkpoint keeps, and
    /// [`BuildTokenizer::restore`] takes.
    fn symbols(&self) -> Vec<String>;
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

/// A kind of tokenizer: what `data.tokenizer` names.
pub trait BuildTokenizer: Send + Sync {
    /// The tokenizer whose vocabulary is that of `text`.
    fn fit(&self, text: &str) -> Box<dyn Tokenizer>;

    /// The tokenizer with the given [`Tokenizer::symbols`], `None` if they cannot be its.
    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>>;
}

/// The entry of tokenizer `P`.
pub fn entry<P: Part + BuildTokenizer>() -> Entry<dyn BuildTokenizer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every tokenizer this crate offers, by the name a config uses.
pub fn builtin_tokenizers() -> Registry<dyn BuildTokenizer> {
    Registry::new("tokenizer", [entry::<Char>()])
}
