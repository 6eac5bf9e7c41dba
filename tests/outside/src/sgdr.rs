//! Cosine with warm restarts: half a cosine from 1 to `min_factor`, again and again, each
//! `period_mult` times as long as the one before.
//!
//! Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017; PyTorch's
//! `CosineAnnealingWarmRestarts`.

use std::f64::consts::PI;

use optim::Schedule;
use registry::range::{Share, Size, Steps};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of `sgdr`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sgdr {
    /// steps before the first restart
    pub period: Steps,
    /// how many times as long each period is as the one before
    pub period_mult: Size,
    /// where a period ends
    pub min_factor: Share,
}

impl Default for Sgdr {
    fn default() -> Self {
        Self { period: Steps::new(1000), period_mult: Size::new(2), min_factor: Share::new(0.0) }
    }
}

impl Part for Sgdr {
    const NAME: &'static str = "sgdr";
    const SUMMARY: &'static str = "goes down as half a cosine wave, and starts anew";
    const SOURCE: &'static str = "Loshchilov & Hutter 2017";
}

impl Schedule for Sgdr {
    fn factor(&self, step: u64, _steps: u64) -> f64 {
        let mult = self.period_mult.get() as u64;
        let (mut behind, mut period) = (step - 1, self.period.get() as u64);
        if mult == 1 {
            behind %= period;
        }
        while period <= behind {
            behind -= period;
            period = period.saturating_mul(mult);
        }
        let min_factor = self.min_factor.get();
        let wave = (1.0 + (PI * behind as f64 / period as f64).cos()) / 2.0;
        min_factor + (1.0 - min_factor) * wave
    }

    fn check_length(&self, steps: u64) -> Result<(), Conflict> {
        let period = self.period.get() as u64;
        if period <= steps {
            return Ok(());
        }
        Err(Conflict {
            key: "period",
            message: format!("of {period} steps is longer than the run, {steps}"),
            help: "a tenth of the run is a start".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(period: i64, period_mult: i64, expected: &[f64]) {
        let (period, period_mult) = (Steps::new(period), Size::new(period_mult));
        let schedule = Sgdr { period, period_mult, min_factor: Share::new(0.5) };
        for (step, expected) in (1..).zip(expected) {
            let factor = schedule.factor(step, 100);
            assert!((factor - expected).abs() < 1e-15, "{factor} at step {step}");
        }
    }

    #[test]
    fn every_period_starts_at_one_and_is_longer_by_its_multiple() {
        check(2, 1, &[1.0, 0.75, 1.0, 0.75, 1.0, 0.75]);
        // Two steps, six, and the first of eighteen.
        let root = 3.0_f64.sqrt() / 8.0;
        check(2, 3, &[1.0, 0.75, 1.0, 0.75 + root, 0.875, 0.75, 0.625, 0.75 - root, 1.0]);
    }

    #[test]
    fn a_period_as_long_as_the_run_is_the_longest() {
        let schedule = Sgdr::default();
        assert_eq!(schedule.check_length(1000), Ok(()));
        assert_eq!(schedule.check_length(999).expect_err("too short").key, "period");
    }
}
