//! Weights from a normal distribution, biases zero, as in min-char-rnn.

use registry::Part;
use registry::range::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{self, Rng};
use tensor_core::{Segment, Shape};

use super::Distribution;

/// Keys of `normal`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Normal {
    /// standard deviation of the weights; biases start at zero
    pub std: NonNegative,
}

impl Default for Normal {
    fn default() -> Self {
        Self { std: NonNegative::new(0.01) }
    }
}

impl Part for Normal {
    const NAME: &'static str = "normal";
    const SUMMARY: &'static str = "weights from a normal distribution, biases zero";
    const SOURCE: &'static str = "min-char-rnn, Karpathy 2015";
}

impl Distribution for Normal {
    fn draw(&self, segment: &Segment, _hidden_size: usize, rng: &mut Rng, values: &mut [f64]) {
        match segment.shape {
            Shape::Matrix(..) => values.fill_with(|| self.std.get() * rng::normal(rng)),
            Shape::Vector(_) => values.fill(0.0),
        }
    }
}
