//! Every parameter uniform within `±1/√hidden_size`: what `nn.RNN` and `nn.Linear` start from.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Layout;
use tensor_core::rng::{self, Rng};

use super::{InitError, Initializer};

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

impl Initializer for Pytorch {
    fn init(
        &self,
        _layout: &Layout,
        hidden_size: usize,
        rng: &mut Rng,
        theta: &mut [f64],
    ) -> Result<(), InitError> {
        let bound = 1.0 / (hidden_size as f64).sqrt();
        theta.fill_with(|| bound * (2.0 * rng::uniform(rng) - 1.0));
        Ok(())
    }
}
