//! Clips every entry of the gradient: `g ← min(max(g, -limit), limit)`.
//!
//! Mikolov, "Statistical language models based on neural networks", 2012; min-char-rnn clips at 5.

use registry::Part;
use registry::range::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart};

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
    fn apply(&mut self, _step: u64, _params: &[T], grads: &mut [T]) {
        let limit = T::from_f64(self.limit.get());
        for g in grads {
            // A NaN compares as false and stays: it is the run's business to stop for it.
            if limit < *g {
                *g = limit;
            } else if *g < -limit {
                *g = -limit;
            }
        }
    }
}
