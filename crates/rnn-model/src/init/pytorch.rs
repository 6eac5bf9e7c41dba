//! Every parameter uniform within `±1/√hidden_size`: what `nn.RNN` and `nn.Linear` start from. An
//! embedding is standard normal, as in `nn.Embedding`.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Segment;
use tensor_core::rng::{self, Rng};

use super::Distribution;

/// `pytorch` has no keys.
///
/// PyTorch draws two biases for a recurrent layer, which only ever occur as their sum; here there
/// is one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pytorch {}

impl Part for Pytorch {
    const NAME: &'static str = "pytorch";
    const SUMMARY: &'static str = "everything uniform within ±1/√hidden_size";
    const SOURCE: &'static str = "PyTorch's nn.RNN and nn.Linear";
}

impl Distribution for Pytorch {
    fn draw(&self, segment: &Segment, hidden_size: usize, rng: &mut Rng, values: &mut [f64]) {
        if segment.tensor == "w_e" {
            return values.fill_with(|| rng::normal(rng));
        }
        let bound = 1.0 / (hidden_size as f64).sqrt();
        values.fill_with(|| bound * (2.0 * rng::uniform(rng) - 1.0));
    }
}
