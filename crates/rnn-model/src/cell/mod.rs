//! The kinds of cells, one file each.

mod activation;
mod gru;
mod indrnn;
mod lstm;
mod mgu;
mod min_gru;
mod min_lstm;
mod mlstm;
mod vanilla;

use registry::{Entry, Part, Registry};
use tensor_core::{Dual, Real};

pub use activation::Activation;
pub use gru::Gru;
pub use indrnn::IndRnn;
pub use lstm::Lstm;
pub use mgu::Mgu;
pub use min_gru::MinGru;
pub use min_lstm::MinLstm;
pub use mlstm::Mlstm;
pub use vanilla::Vanilla;

use crate::{Dims, Layer, LayerOptions};

/// A kind of recurrent layer with its keys: what `model.cell` names.
pub trait CellPart: Part {
    /// Builds a layer of this kind.
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>>;
}

/// A [`CellPart`] without its type, for every number type there is.
pub trait BuildLayer: Send + Sync {
    /// Builds a layer that computes in `f32`.
    fn f32(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<f32>>;
    /// Builds a layer that computes in `f64`.
    fn f64(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<f64>>;
    /// Builds a layer that carries a derivative through every operation.
    fn dual(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<Dual>>;
}

impl<P: CellPart + Send + Sync> BuildLayer for P {
    fn f32(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<f32>> {
        self.layer(dims, options)
    }
    fn f64(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<f64>> {
        self.layer(dims, options)
    }
    fn dual(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<Dual>> {
        self.layer(dims, options)
    }
}

/// The entry of cell `P`.
pub fn entry<P: CellPart + Send + Sync>() -> Entry<dyn BuildLayer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every cell this crate offers, by the name a config uses.
pub fn builtin_cells() -> Registry<dyn BuildLayer> {
    Registry::new(
        "cell",
        [
            entry::<Vanilla>(),
            entry::<Lstm>(),
            entry::<Gru>(),
            entry::<Mgu>(),
            entry::<MinGru>(),
            entry::<MinLstm>(),
            entry::<Mlstm>(),
            entry::<IndRnn>(),
        ],
    )
}

/// The values of `N` gates, each `[units]`, that lie one after the other.
///
/// # Panics
/// In debug builds, if there are not as many of each.
#[inline(always)]
#[track_caller]
pub fn blocks<const N: usize, T>(values: &[T]) -> [&[T]; N] {
    debug_assert!(values.len().is_multiple_of(N), "{} values of {N} gates", values.len());
    let width = values.len() / N;
    std::array::from_fn(|block| &values[block * width..(block + 1) * width])
}

/// The values of `N` gates, each `[units]`, that lie one after the other.
///
/// # Panics
/// In debug builds, if there are not as many of each.
#[inline(always)]
#[track_caller]
pub fn blocks_mut<const N: usize, T>(values: &mut [T]) -> [&mut [T]; N] {
    debug_assert!(values.len().is_multiple_of(N), "{} values of {N} gates", values.len());
    let width = values.len() / N;
    let mut rest = values;
    std::array::from_fn(|_| rest.split_off_mut(..width).expect("as many blocks"))
}
