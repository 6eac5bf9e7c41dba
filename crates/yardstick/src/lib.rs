//! What a text gives away without a neural network: yardsticks for a model's loss.
//!
//! A loss means little by itself. Beside it stand here what [n-grams](ngrams) lose on the same symbols
//! and into how little [`xz`] puts the same bytes, both with the training text known beforehand. A
//! guess among `vocab_size` symbols, `ln(vocab_size)` nats, needs no function.
//!
//! This crate knows symbols and bytes: no model, no file, no clock.

mod compression;
mod ngram;

pub use compression::xz;
pub use ngram::{NGram, ngrams};

/// Symbols in documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The symbols, each below the size of a vocabulary.
    pub ids: Vec<u32>,
    /// Whether a document starts at each of them. What is before a start does not help to predict
    /// what is after the symbol that starts.
    pub starts: Vec<bool>,
}
