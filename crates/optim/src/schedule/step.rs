//! Stairs: `gamma^⌊(step-1) / step_size⌋`, as PyTorch's `StepLR`.
//!
//! Ge et al., "The step decay schedule: a near optimal, geometrically decaying learning rate
//! procedure for least squares", NeurIPS 2019. A `step_size` beyond the run is no mistake: all of it
//! is on the first stair then.

use registry::Part;
use registry::range::{Share, Steps};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// Keys of `step`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Step {
    /// steps on each stair
    pub step_size: Steps,
    /// height of a stair, as a share of the one before
    pub gamma: Share,
}

impl Default for Step {
    fn default() -> Self {
        Self { step_size: Steps::new(10_000), gamma: Share::new(0.1) }
    }
}

impl Part for Step {
    const NAME: &'static str = "step";
    const SUMMARY: &'static str = "goes down by a factor every so many steps";
    const SOURCE: &'static str = "Ge et al. 2019";
}

impl Schedule for Step {
    fn factor(&self, step: u64, _steps: u64) -> f64 {
        let stair = (step - 1) / self.step_size.get() as u64;
        libm::pow(self.gamma.get(), stair as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[test]
    fn every_stair_is_as_long_and_lower() {
        let schedule = Step { step_size: Steps::new(3), gamma: Share::new(0.5) };
        assert_eq!(factors(&schedule, 7), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
    }
}
