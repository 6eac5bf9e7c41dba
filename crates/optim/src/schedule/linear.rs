//! A straight line from 1 to `end_factor`, and `end_factor` from then on, as PyTorch's `LinearLR`
//! with a `start_factor` of 1.
//!
//! Defazio et al., "Optimal linear decay learning rate schedules and further refinements", 2023.

use registry::range::{Every, Share};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, check_length, length, progress};

/// Keys of `linear`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Linear {
    /// where the line ends
    pub end_factor: Share,
    /// length of the line; 0 is the whole run
    pub steps: Every,
}

impl Default for Linear {
    fn default() -> Self {
        Self { end_factor: Share::new(0.0), steps: Every::new(0) }
    }
}

impl Part for Linear {
    const NAME: &'static str = "linear";
    const SUMMARY: &'static str = "goes down in a straight line";
    const SOURCE: &'static str = "Defazio et al. 2023";
}

impl Schedule for Linear {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        1.0 - (1.0 - self.end_factor.get()) * progress(step, length(self.steps, steps))
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
    fn it_goes_down_over_the_whole_run_or_its_own_length() {
        let schedule = Linear { end_factor: Share::new(0.5), ..Linear::default() };
        assert_eq!(factors(&schedule, 4), [1.0, 0.875, 0.75, 0.625]);
        let schedule = Linear { steps: Every::new(2), ..schedule };
        assert_eq!(factors(&schedule, 5), [1.0, 0.75, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn a_line_longer_than_the_run_is_refused() {
        let schedule = Linear { steps: Every::new(5), ..Linear::default() };
        assert_eq!(schedule.check_length(5), Ok(()));
        assert_eq!(Linear::default().check_length(1), Ok(()));
        let conflict = schedule.check_length(4).expect_err("a step too many");
        assert_eq!(conflict.key, "steps");
        assert_eq!(conflict.message, "takes 5 steps, and only 4 are left for it");
    }
}
