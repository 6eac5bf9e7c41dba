//! Half a cosine from 1 to `min_factor`, `min_factor + (1 - min_factor)·(1 + cos(π·x)) / 2`, where
//! `x` is the share of the steps that lies behind.
//!
//! Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without
//! the restarts. Behind its end it stays at `min_factor`; PyTorch's `CosineAnnealingLR` goes up again.

use std::f64::consts::PI;

use registry::range::{Every, Share};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, check_length, length, progress};

/// Keys of `cosine`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cosine {
    /// where it ends
    pub min_factor: Share,
    /// length of the half wave; 0 is the whole run
    pub steps: Every,
}

impl Default for Cosine {
    fn default() -> Self {
        Self { min_factor: Share::new(0.0), steps: Every::new(0) }
    }
}

impl Part for Cosine {
    const NAME: &'static str = "cosine";
    const SUMMARY: &'static str = "goes down as half a cosine wave";
    const SOURCE: &'static str = "Loshchilov & Hutter 2017";
}

impl Schedule for Cosine {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        let min_factor = self.min_factor.get();
        let x = progress(step, length(self.steps, steps));
        min_factor + (1.0 - min_factor) * (1.0 + libm::cos(PI * x)) / 2.0
    }

    fn check_length(&self, steps: u64) -> Result<(), Conflict> {
        check_length("steps", self.steps, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[test]
    fn it_is_the_one_of_pytorch() {
        // CosineAnnealingLR(SGD([p], lr=1.0), T_max=7, eta_min=0.25), PyTorch 2.15
        let expected = [
            1.0,
            0.9628633254634071,
            0.858808675697025,
            0.7084453502336179,
            0.5415546497663821,
            0.39119132430297493,
            0.28713667453659286,
        ];
        let schedule = Cosine { min_factor: Share::new(0.25), ..Cosine::default() };
        for (factor, expected) in factors(&schedule, 7).iter().zip(expected) {
            // PyTorch multiplies each factor out of the one before.
            assert!((factor - expected).abs() < 1e-14, "{factor} instead of {expected}");
        }
    }

    #[test]
    fn it_stays_where_it_ends() {
        let schedule = Cosine { min_factor: Share::new(0.5), steps: Every::new(2) };
        assert_eq!(factors(&schedule, 5), [1.0, 0.75, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn a_wave_longer_than_the_run_is_refused() {
        let schedule = Cosine { steps: Every::new(5), ..Cosine::default() };
        assert_eq!(schedule.check_length(5), Ok(()));
        assert_eq!(schedule.check_length(4).expect_err("a step too many").key, "steps");
    }
}
