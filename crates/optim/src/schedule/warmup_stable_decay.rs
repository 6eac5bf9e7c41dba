//! Warm-up, stable, decay: 1 for most of the run, then a straight line to `min_factor` over its end.
//!
//! Hu et al., "MiniCPM: unveiling the potential of small language models with scalable training
//! strategies", 2024; the straight line is that of Hägele et al., "Scaling laws and compute-optimal
//! training beyond fixed training durations", 2024. The warm-up is `schedule.warmup`, as for every
//! schedule.

use registry::range::{Every, Share};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, check_length, progress};

/// Keys of `warmup_stable_decay`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WarmupStableDecay {
    /// share of the run that goes down
    pub decay_share: Share,
    /// the same in steps; 0 leaves it to the share
    pub decay_steps: Every,
    /// where the line ends
    pub min_factor: Share,
}

impl Default for WarmupStableDecay {
    fn default() -> Self {
        Self {
            decay_share: Share::new(0.2),
            decay_steps: Every::new(0),
            min_factor: Share::new(0.0),
        }
    }
}

impl Part for WarmupStableDecay {
    const NAME: &'static str = "warmup_stable_decay";
    const SUMMARY: &'static str = "stays up and goes down at the end, in a straight line";
    const SOURCE: &'static str = "Hu et al. 2024";
}

impl Schedule for WarmupStableDecay {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        let decay = match self.decay_steps.get() {
            0 => (self.decay_share.get() * steps as f64).round() as u64,
            decay => decay as u64,
        };
        let stable = steps.saturating_sub(decay);
        if step <= stable {
            return 1.0;
        }
        1.0 - (1.0 - self.min_factor.get()) * progress(step - stable, decay)
    }

    fn check_length(&self, steps: u64) -> Result<(), Conflict> {
        check_length("decay_steps", self.decay_steps, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[test]
    fn it_goes_down_at_the_end() {
        let schedule = WarmupStableDecay {
            decay_share: Share::new(0.4),
            min_factor: Share::new(0.5),
            ..WarmupStableDecay::default()
        };
        assert_eq!(factors(&schedule, 5), [1.0, 1.0, 1.0, 1.0, 0.75]);
        let schedule = WarmupStableDecay { decay_steps: Every::new(4), ..schedule };
        assert_eq!(factors(&schedule, 5), [1.0, 1.0, 0.875, 0.75, 0.625]);
    }

    #[test]
    fn a_decay_longer_than_the_run_is_refused() {
        let schedule =
            WarmupStableDecay { decay_steps: Every::new(5), ..WarmupStableDecay::default() };
        assert_eq!(schedule.check_length(5), Ok(()));
        assert_eq!(schedule.check_length(4).expect_err("a step too many").key, "decay_steps");
    }
}
