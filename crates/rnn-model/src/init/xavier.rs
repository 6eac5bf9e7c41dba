//! Weights uniform within `±√(6 / (inputs + outputs))` of their gate, biases zero.
//!
//! Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
//! AISTATS 2010. The outputs are those of one gate: each is a layer of its own.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Segment;
use tensor_core::rng::{self, Rng};

use super::{Distribution, gate_blocks};

/// `xavier` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Xavier {}

impl Part for Xavier {
    const NAME: &'static str = "xavier";
    const SUMMARY: &'static str =
        "weights uniform by the number of inputs and outputs, biases zero";
    const SOURCE: &'static str = "Glorot & Bengio 2010";
}

impl Distribution for Xavier {
    fn draw(&self, segment: &Segment, _hidden_size: usize, rng: &mut Rng, values: &mut [f64]) {
        let Some((inputs, outputs, _)) = gate_blocks(segment) else { return values.fill(0.0) };
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        values.fill_with(|| bound * (2.0 * rng::uniform(rng) - 1.0));
    }
}
