//! Transforms of the gradient between backward pass and optimizer, one file each.

mod clip_norm;
mod clip_value;

use registry::{Entry, Part, Registry};
use tensor_core::Real;

pub use clip_norm::ClipNorm;
pub use clip_value::ClipValue;

/// A change of the gradient. Those of a config are applied in their order.
pub trait Transform<T: Real>: Send {
    /// Overwrites `grads`, which mirrors `params`.
    fn apply(&mut self, params: &[T], grads: &mut [T]);
}

/// A transform with its keys: what the `kind` of a `[[transform]]` names.
pub trait TransformPart: Part {
    /// Builds the transform of `n_params` gradients.
    fn transform<T: Real>(&self, n_params: usize) -> Box<dyn Transform<T>>;
}

/// A [`TransformPart`] without its type, for every number type there is.
pub trait BuildTransform: Send + Sync {
    /// Builds one for gradients in `f32`.
    fn f32(&self, n_params: usize) -> Box<dyn Transform<f32>>;
    /// Builds one for gradients in `f64`.
    fn f64(&self, n_params: usize) -> Box<dyn Transform<f64>>;
}

impl<P: TransformPart + Send + Sync> BuildTransform for P {
    fn f32(&self, n_params: usize) -> Box<dyn Transform<f32>> {
        self.transform(n_params)
    }
    fn f64(&self, n_params: usize) -> Box<dyn Transform<f64>> {
        self.transform(n_params)
    }
}

/// The entry of transform `P`.
pub fn entry<P: TransformPart + Send + Sync>() -> Entry<dyn BuildTransform> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every transform this crate offers, by the name a config uses.
pub fn builtin_transforms() -> Registry<dyn BuildTransform> {
    Registry::new("transform", [entry::<ClipNorm>(), entry::<ClipValue>()])
}
