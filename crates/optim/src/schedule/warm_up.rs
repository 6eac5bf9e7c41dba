//! Warm-up: a straight line up to the first factor of another schedule, which starts after it.
//!
//! Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017. No part of its
//! own: every schedule takes the key `schedule.warmup`.

use registry::Conflict;

use super::Schedule;

/// Another schedule after `warmup` steps that lead up to it.
pub struct WarmUp {
    warmup: u64,
    inner: Box<dyn Schedule>,
}

impl WarmUp {
    /// Puts `warmup` steps before `inner`, for which the run is then as much shorter.
    pub fn new(warmup: u64, inner: Box<dyn Schedule>) -> Self {
        Self { warmup, inner }
    }
}

impl Schedule for WarmUp {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        // A run that ends in its warm-up leads up to a step it does not get to.
        let rest = steps.saturating_sub(self.warmup).max(1);
        if step <= self.warmup {
            step as f64 / self.warmup as f64 * self.inner.factor(1, rest)
        } else {
            self.inner.factor(step - self.warmup, rest)
        }
    }

    fn observe(&mut self, val_nats_per_char: f64) {
        self.inner.observe(val_nats_per_char);
    }

    fn needs_validation(&self) -> bool {
        self.inner.needs_validation()
    }

    fn state(&mut self) -> Vec<(&'static str, &mut f64)> {
        self.inner.state()
    }

    fn check_length(&self, steps: u64) -> Result<(), Conflict> {
        let Some(rest) = steps.checked_sub(self.warmup) else {
            return Err(Conflict {
                key: "warmup",
                message: format!("takes {} steps of a run of {steps}", self.warmup),
                help: "a tenth of the run is plenty".into(),
            });
        };
        self.inner.check_length(rest)
    }
}

#[cfg(test)]
mod tests {
    use registry::range::{Every, Share};

    use super::super::{Linear, Plateau, factors};
    use super::*;
    use crate::BuildSchedule;

    fn linear(warmup: u64) -> WarmUp {
        let inner = Linear { end_factor: Share::new(0.5), steps: Every::new(2) };
        WarmUp::new(warmup, Box::new(inner))
    }

    #[test]
    fn it_leads_up_to_the_schedule_behind_it() {
        assert_eq!(factors(&linear(4), 8), [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.5]);
        assert_eq!(factors(&linear(0), 3), [1.0, 0.75, 0.5]);
    }

    #[test]
    fn the_run_is_shorter_for_the_schedule_behind_it() {
        let whole = WarmUp::new(2, Box::new(Linear::default()));
        assert_eq!(factors(&whole, 6), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn its_length_is_checked_and_so_is_that_of_what_follows() {
        assert_eq!(linear(4).check_length(6), Ok(()));
        assert_eq!(linear(4).check_length(5).expect_err("one left for two").key, "steps");
        assert_eq!(linear(4).check_length(3).expect_err("less than the warm-up").key, "warmup");
    }

    #[test]
    fn a_run_of_nothing_else_still_leaves_a_step_to_lead_up_to() {
        /// Refuses what a schedule need not be able to do.
        struct Strict;
        impl Schedule for Strict {
            fn factor(&self, step: u64, steps: u64) -> f64 {
                assert!((1..=steps).contains(&step), "step {step} of {steps}");
                1.0
            }
        }
        assert_eq!(factors(&WarmUp::new(2, Box::new(Strict)), 2), [0.5, 1.0]);
        assert_eq!(factors(&WarmUp::new(2, Box::new(Strict)), 1), [0.5]);
    }

    #[test]
    fn what_listens_is_heard_through_it() {
        let plateau = Plateau { patience: Every::new(0), ..Plateau::default() };
        let mut schedule = WarmUp::new(2, plateau.build());
        schedule.observe(1.0);
        schedule.observe(1.0);
        assert_eq!(schedule.factor(3, 9), 0.1);
        assert_eq!(schedule.state().len(), plateau.build().state().len());
    }
}
