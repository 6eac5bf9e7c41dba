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

use super::{Transform, TransformPart, Verdict};

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
    fn apply(&mut self, _step: u64, _params: &[T], grads: &mut [T]) -> Verdict {
        let (norm, limit) = (norm(grads), self.limit.get());
        if limit < norm {
            let scale = T::from_f64(limit / norm);
            for g in grads {
                *g *= scale;
            }
        }
        Verdict::Step
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    #[test]
    fn a_longer_gradient_keeps_its_direction_and_gets_the_limits_length() {
        let keys = ClipNorm { limit: Positive::new(1.0) };
        let (grads, verdict) = applied(keys, 1, [0.0; 3], [30.0, 0.0, -40.0]);
        assert_eq!(verdict, Verdict::Step);
        assert!((norm(&grads) - 1.0).abs() < 1e-15, "{grads:?}");
        assert!((grads[0] - 0.6).abs() < 1e-15 && (grads[2] + 0.8).abs() < 1e-15, "{grads:?}");
    }

    #[test]
    fn nothing_changes_up_to_the_limit() {
        let keys = ClipNorm { limit: Positive::new(5.0) };
        for grads in [[3.0, -4.0], [1e-300, 0.0], [0.0, 0.0]] {
            assert_eq!(applied(keys, 1, [0.0; 2], grads).0, grads);
        }
    }

    #[test]
    fn nan_stays() {
        let (grads, _) = applied(ClipNorm::default(), 1, [0.0; 2], [f64::NAN, 9.0]);
        assert!(grads[0].is_nan());
    }
}
