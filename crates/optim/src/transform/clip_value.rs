//! Clips every entry of the gradient: `g ← min(max(g, -limit), limit)`.
//!
//! Mikolov, "Statistical language models based on neural networks", 2012; min-char-rnn clips at 5.

use registry::Part;
use registry::range::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart, Verdict};

/// Keys of `clip_value`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClipValue {
    /// greatest absolute value of an entry
    pub limit: Positive,
}

impl Default for ClipValue {
    fn default() -> Self {
        Self { limit: Positive::new(5.0) }
    }
}

impl Part for ClipValue {
    const NAME: &'static str = "clip_value";
    const SUMMARY: &'static str = "clips each entry of the gradient, as in min-char-rnn";
    const SOURCE: &'static str = "Mikolov 2012";
}

impl TransformPart for ClipValue {
    fn transform<T: Real>(&self, _layout: &Layout, _seed: u64) -> Box<dyn Transform<T>> {
        Box::new(*self)
    }
}

impl<T: Real> Transform<T> for ClipValue {
    fn apply(&mut self, _step: u64, _params: &[T], grads: &mut [T]) -> Verdict {
        let limit = T::from_f64(self.limit.get());
        T::vectorized(
            #[inline(always)]
            || {
                for g in grads {
                    // A NaN compares as false and stays: it is the run's business to stop for it.
                    let below = if limit < *g { limit } else { *g };
                    *g = if below < -limit { -limit } else { below };
                }
            },
        );
        Verdict::Step
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    #[test]
    fn entries_beyond_the_limit_become_it_and_others_stay() {
        let keys = ClipValue { limit: Positive::new(2.0) };
        let grads = [3.0, -3.0, 2.0, -2.0, 0.5, f64::INFINITY];
        let expected = [2.0, -2.0, 2.0, -2.0, 0.5, 2.0];
        assert_eq!(applied(keys, 1, [9.0; 6], grads), (expected, Verdict::Step));
    }

    #[test]
    fn nan_stays() {
        let (grads, _) = applied(ClipValue::default(), 1, [0.0; 2], [f64::NAN, 9.0]);
        assert!(grads[0].is_nan() && grads[1] == 5.0);
    }
}
