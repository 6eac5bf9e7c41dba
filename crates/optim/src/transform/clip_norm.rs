//! Scales the whole gradient down to a length: `g ← g · min(1, limit / ‖g‖)`.
//!
//! Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
//! PyTorch's `clip_grad_norm_` adds 1e-6 to the norm; this does not.

use registry::Part;
use registry::range::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::reduce::norm;
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart};

/// Keys of `clip_norm`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClipNorm {
    /// greatest L2 norm of the whole gradient
    pub limit: Positive,
}

impl Default for ClipNorm {
    fn default() -> Self {
        Self { limit: Positive::new(1.0) }
    }
}

impl Part for ClipNorm {
    const NAME: &'static str = "clip_norm";
    const SUMMARY: &'static str = "scales the gradient down to a greatest L2 norm";
    const SOURCE: &'static str = "Pascanu, Mikolov & Bengio 2013";
}

impl TransformPart for ClipNorm {
    fn transform<T: Real>(&self, _layout: &Layout, _seed: u64) -> Box<dyn Transform<T>> {
        Box::new(*self)
    }
}

impl<T: Real> Transform<T> for ClipNorm {
    fn apply(&mut self, _step: u64, _params: &[T], grads: &mut [T]) {
        let (norm, limit) = (norm(grads), self.limit.get());
        if limit < norm {
            let scale = T::from_f64(limit / norm);
            for g in grads {
                *g *= scale;
            }
        }
    }
}
