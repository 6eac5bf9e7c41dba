//! Transforms of the gradient between backward pass and optimizer, one file each.

mod clip_norm;
mod clip_value;

use registry::{Entry, Part, Registry};
use tensor_core::{Layout, Real};

pub use clip_norm::ClipNorm;
pub use clip_value::ClipValue;

/// A change of the gradient. Those of a config are applied in their order.
///
/// What a transform does depends on its arguments alone, so there is nothing to save.
pub trait Transform<T: Real>: Send {
    /// Overwrites `grads`, which mirrors `params`. `step` counts from 1.
    fn apply(&mut self, step: u64, params: &[T], grads: &mut [T]);
}

/// A transform with its keys: what the `kind` of a `[[transform]]` names.
pub trait TransformPart: Part {
    /// Builds the transform of gradients laid out as `layout`; `seed` is that of the run.
    fn transform<T: Real>(&self, layout: &Layout, seed: u64) -> Box<dyn Transform<T>>;
}

/// A [`TransformPart`] without its type, for every number type there is.
pub trait BuildTransform: Send + Sync {
    /// Builds one for gradients in `f32`.
    fn f32(&self, layout: &Layout, seed: u64) -> Box<dyn Transform<f32>>;
    /// Builds one for gradients in `f64`.
    fn f64(&self, layout: &Layout, seed: u64) -> Box<dyn Transform<f64>>;
}

impl<P: TransformPart + Send + Sync> BuildTransform for P {
    fn f32(&self, layout: &Layout, seed: u64) -> Box<dyn Transform<f32>> {
        self.transform(layout, seed)
    }
    fn f64(&self, layout: &Layout, seed: u64) -> Box<dyn Transform<f64>> {
        self.transform(layout, seed)
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
