//! Exponential decay: `gamma^(step-1)`, as PyTorch's `ExponentialLR` stepped at every update.
//!
//! Li, Zhuang & Orabona, "A second look at exponential and cosine step sizes: simplicity,
//! adaptivity, and performance", ICML 2021.

use registry::Part;
use registry::range::Share;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// Keys of `exponential`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exponential {
    /// what each step leaves; 0.5^(1/n) halves in n steps
    pub gamma: Share,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { gamma: Share::new(0.9999) }
    }
}

impl Part for Exponential {
    const NAME: &'static str = "exponential";
    const SUMMARY: &'static str = "goes down by the same factor at every step";
    const SOURCE: &'static str = "Li, Zhuang & Orabona 2021";
}

impl Schedule for Exponential {
    fn factor(&self, step: u64, _steps: u64) -> f64 {
        libm::pow(self.gamma.get(), (step - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[test]
    fn every_step_leaves_the_same_share() {
        let schedule = Exponential { gamma: Share::new(0.5) };
        assert_eq!(factors(&schedule, 4), [1.0, 0.5, 0.25, 0.125]);
    }
}
