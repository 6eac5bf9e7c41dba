//! L2 penalty: `g ← g + rate·p`, the gradient of `rate·‖p‖² / 2`.
//!
//! Krogh & Hertz, "A simple weight decay can improve generalization", NeurIPS 1991. It is what
//! `weight_decay` does in most of PyTorch's optimizers, but at a place of its own in the chain: after
//! a clipping it is not clipped. An optimizer that divides by the size of the gradient divides the
//! decay too; `adamw`, `lion` and `muon` have one that it does not reach.

use registry::Part;
use registry::range::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart, Verdict};

/// Keys of `weight_decay`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WeightDecay {
    /// share of the parameters that is added to the gradient
    pub rate: NonNegative,
}

impl Default for WeightDecay {
    fn default() -> Self {
        Self { rate: NonNegative::new(0.01) }
    }
}

impl Part for WeightDecay {
    const NAME: &'static str = "weight_decay";
    const SUMMARY: &'static str = "adds a share of the parameters, as an L2 penalty does";
    const SOURCE: &'static str = "Krogh & Hertz 1991";
}

impl TransformPart for WeightDecay {
    fn transform<T: Real>(&self, _layout: &Layout, _seed: u64) -> Box<dyn Transform<T>> {
        Box::new(*self)
    }
}

impl<T: Real> Transform<T> for WeightDecay {
    fn apply(&mut self, _step: u64, params: &[T], grads: &mut [T]) -> Verdict {
        let rate = T::from_f64(self.rate.get());
        for (g, p) in grads.iter_mut().zip(params) {
            *g += rate * *p;
        }
        Verdict::Step
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    #[test]
    fn a_share_of_each_parameter_is_added_to_its_gradient() {
        let keys = WeightDecay { rate: NonNegative::new(0.5) };
        assert_eq!(applied(keys, 1, [2.0, -4.0], [1.0, 1.0]), ([2.0, -1.0], Verdict::Step));
    }
}
