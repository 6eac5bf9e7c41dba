//! Inverse square root: `1 / √(1 + (step-1) / timescale)`, which never ends and so needs no length.
//!
//! Vaswani et al., "Attention is all you need", NeurIPS 2017, in the form of Zhai et al., "Scaling
//! vision transformers", CVPR 2022: there the curve starts at 1 wherever the warm-up ends. With
//! `timescale` equal to the warm-up it is the curve of the former, `√(warmup / step)`.

use registry::Part;
use registry::range::Steps;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// Keys of `inverse_sqrt`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InverseSqrt {
    /// three times as many steps halve the learning rate
    pub timescale: Steps,
}

impl Default for InverseSqrt {
    fn default() -> Self {
        Self { timescale: Steps::new(10_000) }
    }
}

impl Part for InverseSqrt {
    const NAME: &'static str = "inverse_sqrt";
    const SUMMARY: &'static str = "goes down with the square root of the steps";
    const SOURCE: &'static str = "Vaswani et al. 2017";
}

impl Schedule for InverseSqrt {
    fn factor(&self, step: u64, _steps: u64) -> f64 {
        1.0 / (1.0 + (step - 1) as f64 / self.timescale.get() as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_timescales_halve_it() {
        let schedule = InverseSqrt { timescale: Steps::new(5) };
        assert_eq!([1, 16, 41].map(|step| schedule.factor(step, 1)), [1.0, 0.5, 1.0 / 3.0]);
    }
}
