//! Transforms of the gradient between backward pass and optimizer, one file each.

mod adaptive_clip;
mod clip_norm;
mod clip_value;
mod noise;
mod skip_nonfinite;
mod weight_decay;

use registry::{Entry, Part, Registry};
use tensor_core::{Layout, Real};

pub use adaptive_clip::AdaptiveClip;
pub use clip_norm::ClipNorm;
pub use clip_value::ClipValue;
pub use noise::Noise;
pub use skip_nonfinite::SkipNonfinite;
pub use weight_decay::WeightDecay;

/// A change of the gradient. Those of a config are applied in their order.
///
/// What those of this crate do depends on their arguments alone, so there is nothing to save.
pub trait Transform<T: Real>: Send {
    /// Overwrites `grads`, which mirrors `params`. `step` counts from 1. Allocates nothing.
    ///
    /// After [`Verdict::Skip`] the caller leaves this step's update out: no later transform is
    /// applied and the optimizer is not stepped, so neither parameters nor averages move, not even
    /// by a decay. The step is counted all the same.
    fn apply(&mut self, step: u64, params: &[T], grads: &mut [T]) -> Verdict;

    /// Everything that has to survive a restart, by name, in slices of fixed length.
    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        Vec::new()
    }
}

/// What is to become of a step.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The optimizer takes it, with the gradient as it is now.
    Step,
    /// It is left out.
    Skip,
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
    Registry::new(
        "transform",
        [
            entry::<ClipValue>(),
            entry::<ClipNorm>(),
            entry::<AdaptiveClip>(),
            entry::<WeightDecay>(),
            entry::<Noise>(),
            entry::<SkipNonfinite>(),
        ],
    )
}

/// The gradient of one bias after the transform, and the verdict.
#[cfg(test)]
fn applied<const LEN: usize>(
    part: impl TransformPart,
    step: u64,
    params: [f64; LEN],
    mut grads: [f64; LEN],
) -> ([f64; LEN], Verdict) {
    let mut layout = Layout::default();
    layout.push(None, [("b", tensor_core::Shape::Vector(LEN))]);
    let verdict = part.transform(&layout, 42).apply(step, &params, &mut grads);
    (grads, verdict)
}
