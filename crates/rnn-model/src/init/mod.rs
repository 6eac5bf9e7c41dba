//! How the parameters start, one file each.

mod normal;
mod pytorch;

use registry::{Entry, Part, Registry};
use tensor_core::Layout;
use tensor_core::rng::Rng;

pub use normal::Normal;
pub use pytorch::Pytorch;

/// Sets the parameters of a model before training.
///
/// Values are drawn in `f64` and rounded afterwards, so models in `f32` and in `f64` start alike.
pub trait Initializer: Send + Sync {
    /// Overwrites `theta`, laid out as `layout`, of a model of width `hidden_size`.
    ///
    /// # Errors
    /// If the values come from elsewhere and cannot be had.
    fn init(
        &self,
        layout: &Layout,
        hidden_size: usize,
        rng: &mut Rng,
        theta: &mut [f64],
    ) -> Result<(), InitError>;
}

/// Initial values that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct InitError {
    /// The file, or the tensor in it.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// The entry of initializer `P`.
pub fn entry<P: Part + Initializer>() -> Entry<dyn Initializer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every initializer this crate offers, by the name a config uses.
pub fn builtin_initializers() -> Registry<dyn Initializer> {
    Registry::new("initializer", [entry::<Normal>(), entry::<Pytorch>()])
}
