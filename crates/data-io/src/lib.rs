//! Text in, windows out, and weights on disk.
//!
//! A [`Source`] finds or makes a text, the [`Corpus`], a [`Tokenizer`] turns it into indices and back,
//! [`Windows`] cut the indices, and [`TensorFile`] reads and writes named tensors. This crate
//! knows no model: what the tensors mean is its caller's business.

mod corpus;
pub mod durable;
mod regular;
pub mod source;
mod survey;
pub mod tensor_file;
pub mod tokenizer;
mod windows;

pub use corpus::{Corpus, EncodedCorpus, Excerpt, Reader};
pub use regular::read_regular;
pub use source::{Looks, Paths, Source, TextError, builtin_sources};
pub use survey::{Kind, Survey};
pub use tensor_file::{FileError, Foreign, StoredTensor, TensorFile, Values, is_text};
pub use tokenizer::{
    BuildTokenizer, Tokenizer, Unit, UnknownSymbol, Utf8Stream, builtin_tokenizers,
};
pub use windows::{Lanes, Lengths, Window, WindowRule, Windows};
