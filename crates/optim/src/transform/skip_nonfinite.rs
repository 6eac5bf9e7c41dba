//! Leaves a step out when an entry of the gradient is infinite or NaN, and zeroes the gradient.
//!
//! Micikevicius et al., "Mixed precision training", ICLR 2018, do so when a scaled loss overflows.
//! If the weights themselves have gone bad, so will every later step.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart, Verdict};

/// `skip_nonfinite` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SkipNonfinite {}

impl Part for SkipNonfinite {
    const NAME: &'static str = "skip_nonfinite";
    const SUMMARY: &'static str = "leaves out a step whose gradient is infinite or NaN";
    const SOURCE: &'static str = "Micikevicius et al. 2018";
}

impl TransformPart for SkipNonfinite {
    fn transform<T: Real>(&self, _layout: &Layout, _seed: u64) -> Box<dyn Transform<T>> {
        Box::new(*self)
    }
}

impl<T: Real> Transform<T> for SkipNonfinite {
    fn apply(&mut self, _step: u64, _params: &[T], grads: &mut [T]) -> Verdict {
        if grads.iter().all(|g| g.is_finite()) {
            return Verdict::Step;
        }
        grads.fill(T::ZERO);
        Verdict::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    #[test]
    fn one_bad_entry_spoils_the_step() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (grads, verdict) = applied(SkipNonfinite {}, 1, [0.0; 3], [1.0, bad, 2.0]);
            assert_eq!((grads, verdict), ([0.0; 3], Verdict::Skip));
        }
    }

    #[test]
    fn a_finite_gradient_passes_however_large() {
        let grads = [1.0, -f64::MAX, 0.0];
        assert_eq!(applied(SkipNonfinite {}, 1, [0.0; 3], grads), (grads, Verdict::Step));
    }
}
