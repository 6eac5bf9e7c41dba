//! Character-level recurrent networks: cells, the layer that owns the matrix products, the loss,
//! and drawing characters from the model.
//!
//! A [`Model`] is an architecture with its tape; it owns no parameters. All parameters are one flat
//! buffer `theta`, gradients mirror it, and a [`Layout`](tensor_core::Layout) names the tensors laid over both. Recurrent
//! state is passed in and out explicitly.
//!
//! To add a cell, write its equations of one step as a [`Cell`] in a file under `cell/`, and add a line
//! to [`builtin_cells`]. The layer turns it into a network and `cargo xtask gradcheck` proves
//! its gradients.
//!
//! This crate reads no file, knows no text and no optimizer.

pub mod cell;
mod drop_connect;
mod dropout;
pub mod gradcheck;
pub mod init;
mod initial;
mod layer;
mod loss;
mod model;
mod norm;
mod projection;
mod recurrent;
mod sample;
mod scanned;
pub mod state_dict;
mod units;
mod view;

pub use cell::{BuildLayer, CellPart, builtin_cells};
pub use init::{Distribution, InitError, Initializer, builtin_initializers};
pub use layer::{Dims, Grads, Input, Layer, LayerOptions, LayerWindow};
pub use loss::{Reduction, softmax_xent};
pub use model::{Architecture, Model, Window};
pub use recurrent::{Backward, Cell, Forward, Mix, MixBackward, OwnVector, Recurrence, Recurrent};
pub use sample::{Generator, Sampler, Scratch};
pub use scanned::{ScanCell, Scanned};
