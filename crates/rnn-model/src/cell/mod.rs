//! The kinds of cells, one file each.

mod vanilla;

use registry::{Entry, Part, Registry};
use tensor_core::Real;

pub use vanilla::Vanilla;

use crate::{Dims, Layer};

/// A kind of recurrent layer with its keys: what `model.cell` names.
pub trait CellPart: Part {
    /// Builds a layer of this kind.
    fn layer<T: Real>(&self, dims: Dims) -> Box<dyn Layer<T>>;
}

/// A [`CellPart`] without its type, for every number type there is.
pub trait BuildLayer: Send + Sync {
    /// Builds a layer that computes in `f32`.
    fn f32(&self, dims: Dims) -> Box<dyn Layer<f32>>;
    /// Builds a layer that computes in `f64`.
    fn f64(&self, dims: Dims) -> Box<dyn Layer<f64>>;
}

impl<P: CellPart + Send + Sync> BuildLayer for P {
    fn f32(&self, dims: Dims) -> Box<dyn Layer<f32>> {
        self.layer(dims)
    }
    fn f64(&self, dims: Dims) -> Box<dyn Layer<f64>> {
        self.layer(dims)
    }
}

/// The entry of cell `P`.
pub fn entry<P: CellPart + Send + Sync>() -> Entry<dyn BuildLayer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every cell this crate offers, by the name a config uses.
pub fn builtin_cells() -> Registry<dyn BuildLayer> {
    Registry::new("cell", [entry::<Vanilla>()])
}
