//! Parts by name: what lets one word in a config swap an optimizer, also for one from elsewhere.
//!
//! A config is read in two passes. [`Document`] parses TOML and keeps a span on every key and value;
//! [`Section`] hands out its tables one by one. Where a section names a [`Part`], the family's
//! [`Registry`] finds the [`Entry`] of that name, and the part's own struct reads the remaining keys.
//! So a part from another crate gets the same checks, the same error messages with line and column,
//! and the same line in `cli list` as ours.
//!
//! The struct of a part is the only description of its keys: `serde` reads and writes it, its
//! [`Default`] gives the defaults, its doc comments the meanings, and the types in [`range`] the
//! allowed values. [`schema_of`] gathers all that for `cli list` and for editors.
//!
//! There is no global list and nothing registers itself before `main`: a registry is a value that
//! `main` builds. This crate knows TOML and names, and no model.

mod document;
mod error;
mod keys;
mod part;
pub mod range;
mod section;
mod text;

pub use document::{Document, Place};
pub use error::{ConfigError, suggest};
pub use keys::{Key, keys_of, schema_of};
pub use part::{Chosen, Conflict, Entry, Part, Registry};
pub use section::{PartSection, Section};
pub use text::{document_text, value_text};
