//! One cycle: up from `1/div_factor` to 1 over the first `pct_start` of the run, then down to
//! `1/(div_factor·final_div_factor)`, each way as half a cosine wave.
//!
//! Smith, "A disciplined approach to neural network hyper-parameters: part 1", 2018, with straight
//! lines and a third phase. Two phases, cosines and a last step exactly at the end are PyTorch's
//! `OneCycleLR`, whose `max_lr` is our learning rate. Momentum is not cycled.

use std::f64::consts::PI;

use registry::Part;
use registry::range::{Fraction, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// Keys of `one_cycle`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OneCycle {
    /// share of the run that goes up
    pub pct_start: Fraction,
    /// the first step is this many times smaller than the greatest
    pub div_factor: Positive,
    /// the last step is this many times smaller than the first
    pub final_div_factor: Positive,
}

impl Default for OneCycle {
    fn default() -> Self {
        Self {
            pct_start: Fraction::new(0.3),
            div_factor: Positive::new(25.0),
            final_div_factor: Positive::new(1e4),
        }
    }
}

impl Part for OneCycle {
    const NAME: &'static str = "one_cycle";
    const SUMMARY: &'static str = "up to the learning rate and further down again";
    const SOURCE: &'static str = "Smith 2018";
}

impl Schedule for OneCycle {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        let start = 1.0 / self.div_factor.get();
        let end = start / self.final_div_factor.get();
        // Steps from the first to the greatest and to the last. The former need not be whole, and
        // where the run is so short that it is below 0, the first step is on its way down already.
        let peak = self.pct_start.get() * steps as f64 - 1.0;
        let last = steps as f64 - 1.0;
        let at = (step - 1) as f64;
        if 0.0 < peak && at <= peak {
            half_wave(start, 1.0, at / peak)
        } else {
            half_wave(1.0, end, ((at - peak) / (last - peak)).min(1.0))
        }
    }
}

fn half_wave(start: f64, end: f64, x: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + libm::cos(PI * x))
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[track_caller]
    fn check(pct_start: f64, steps: u64, expected: &[f64]) {
        let schedule = OneCycle {
            pct_start: Fraction::new(pct_start),
            div_factor: Positive::new(4.0),
            final_div_factor: Positive::new(8.0),
        };
        for (factor, expected) in factors(&schedule, steps).iter().zip(expected) {
            assert!((factor - expected).abs() < 1e-15, "{factor} instead of {expected}");
        }
    }

    #[test]
    fn it_is_the_one_of_pytorch() {
        // OneCycleLR(SGD([p], lr=1.0), max_lr=1.0, total_steps=STEPS, pct_start=PCT_START,
        //            div_factor=4, final_div_factor=8, cycle_momentum=False), PyTorch 2.15
        let seven = [
            0.25,
            0.9848098651054364,
            0.9215739258069854,
            0.682911198235321,
            0.3778069502255937,
            0.12744027690770868,
            0.03125,
        ];
        check(0.3, 7, &seven);
        check(0.9, 3, &[0.25, 0.7276236212770308, 0.03125]);
        check(0.3, 2, &[0.817627872775324, 0.03125]);
        check(0.3, 1, &[0.03125]);
    }

    #[test]
    fn a_peak_at_the_first_step_is_where_it_starts() {
        // PyTorch divides zero by zero.
        check(0.5, 2, &[1.0, 0.03125]);
    }
}
