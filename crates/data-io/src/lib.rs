//! Text in, windows out, and weights on disk.
//!
//! A [`Tokenizer`] turns text into indices and back, a [`Sweep`] cuts the indices into windows, and
//! [`TensorFile`] reads and writes named tensors. This crate knows no model: what the tensors mean
//! is its caller's business.

pub mod tensor_file;
pub mod text;
pub mod tokenizer;
mod windows;

pub use tensor_file::{FileError, StoredTensor, TensorFile, Values};
pub use text::{TextError, read_text};
pub use tokenizer::{BuildTokenizer, Tokenizer, UnknownSymbol, Utf8Stream, builtin_tokenizers};
pub use windows::Sweep;
