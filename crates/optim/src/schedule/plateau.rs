//! Down by `factor` whenever the validation loss has stopped to improve.
//!
//! A loss improves if it is below `best·(1 - threshold)`. After more than `patience` evaluations in
//! a row that did not, the factor is multiplied with `factor`, and the next `cooldown` evaluations do
//! not count. This is PyTorch's `ReduceLROnPlateau` in mode `min` with `threshold_mode` `rel`, apart
//! from its `eps`, a change of the learning rate so small that it leaves it out.
//!
//! Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural
//! networks", NeurIPS 2012, did so by hand.

use registry::Part;
use registry::range::{Every, Fraction, Share};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BuildSchedule, Schedule};

/// Keys of `plateau`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Plateau {
    /// what a plateau leaves of the learning rate
    pub factor: Fraction,
    /// evaluations without improvement that are put up with
    pub patience: Every,
    /// share of the best loss by which one has to be lower
    pub threshold: Fraction,
    /// evaluations after a reduction that do not count
    pub cooldown: Every,
    /// where it ends
    pub min_factor: Share,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: Fraction::new(0.1),
            patience: Every::new(10),
            threshold: Fraction::new(1e-4),
            cooldown: Every::new(0),
            min_factor: Share::new(0.0),
        }
    }
}

impl Part for Plateau {
    const NAME: &'static str = "plateau";
    const SUMMARY: &'static str = "goes down when the validation loss stands still";
    const SOURCE: &'static str = "Krizhevsky, Sutskever & Hinton 2012";
}

impl BuildSchedule for Plateau {
    fn build(&self) -> Box<dyn Schedule> {
        Box::new(State { keys: *self, factor: 1.0, best: f64::MAX, bad: 0.0, cooldown: 0.0 })
    }
}

struct State {
    keys: Plateau,
    factor: f64,
    /// The lowest loss; before the first one a number that a checkpoint can hold, and infinity is
    /// none.
    best: f64,
    /// Evaluations in a row that did not improve.
    bad: f64,
    /// Evaluations to come that do not count.
    cooldown: f64,
}

impl Schedule for State {
    fn factor(&self, _step: u64, _steps: u64) -> f64 {
        self.factor
    }

    fn observe(&mut self, val_nats_per_char: f64) {
        if val_nats_per_char < self.best * (1.0 - self.keys.threshold.get()) {
            self.best = val_nats_per_char;
            self.bad = 0.0;
        } else {
            self.bad += 1.0;
        }
        if 0.0 < self.cooldown {
            self.cooldown -= 1.0;
            self.bad = 0.0;
        }
        if (self.keys.patience.get() as f64) < self.bad {
            self.factor = (self.factor * self.keys.factor.get()).max(self.keys.min_factor.get());
            self.cooldown = self.keys.cooldown.get() as f64;
            self.bad = 0.0;
        }
    }

    fn needs_validation(&self) -> bool {
        true
    }

    fn state(&mut self) -> Vec<(&'static str, &mut f64)> {
        vec![
            ("factor", &mut self.factor),
            ("best", &mut self.best),
            ("bad", &mut self.bad),
            ("cooldown", &mut self.cooldown),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Plateau = Plateau {
        factor: Fraction::new(0.5),
        patience: Every::new(1),
        threshold: Fraction::new(0.1),
        cooldown: Every::new(0),
        min_factor: Share::new(0.0),
    };

    #[track_caller]
    fn check(keys: Plateau, losses: &[f64], expected: &[f64]) {
        let mut schedule = keys.build();
        let mut observe = |loss: &f64| {
            schedule.observe(*loss);
            schedule.factor(1, 1)
        };
        assert_eq!(losses.iter().map(&mut observe).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn it_waits_for_its_patience_to_end() {
        check(KEYS, &[4.0, 4.0, 4.0, 4.0, 4.0], &[1.0, 1.0, 0.5, 0.5, 0.25]);
        check(KEYS, &[4.0, 4.0, 3.0, 3.0, 3.0], &[1.0, 1.0, 1.0, 1.0, 0.5]);
    }

    #[test]
    fn a_loss_has_to_be_lower_by_the_threshold() {
        // 3.7 is lower by less than a tenth; compared with 4.0 again, 3.5 is lower by more.
        check(KEYS, &[4.0, 3.7, 3.65, 3.5], &[1.0, 1.0, 0.5, 0.5]);
        check(KEYS, &[4.0, 3.7, 3.5, 3.4, 3.3], &[1.0, 1.0, 1.0, 1.0, 0.5]);
        // A loss at the threshold is not below it.
        let keys = Plateau { threshold: Fraction::new(0.25), ..KEYS };
        check(keys, &[4.0, 3.0, 3.0], &[1.0, 1.0, 0.5]);
    }

    #[test]
    fn evaluations_in_the_cooldown_do_not_count() {
        let keys = Plateau { cooldown: Every::new(2), ..KEYS };
        let expected = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25];
        check(keys, &[4.0; 7], &expected);
    }

    #[test]
    fn it_is_the_one_of_pytorch() {
        // ReduceLROnPlateau(SGD([p], lr=1.0), factor=0.5, patience=1, threshold=0.01, cooldown=2,
        //                   min_lr=0.05), PyTorch 2.15
        let losses = [
            3.71, 4.0, 3.67, 3.02, 2.99, 2.74, 2.71, 2.64, 1.91, 1.7, 2.2, 1.75, 1.88, 1.16, 1.4,
            1.52, 1.04, 1.52, 1.4, 0.63, 0.56, 0.9, 1.16, 0.66, 0.47, 0.59, 0.23, 0.34, 0.47, 0.48,
        ];
        let reductions = [(11, 0.5), (15, 0.25), (22, 0.125), (28, 0.0625)];
        let mut expected = [1.0; 30];
        for (at, factor) in reductions {
            expected[at..].fill(factor);
        }
        let keys = Plateau {
            threshold: Fraction::new(0.01),
            cooldown: Every::new(2),
            min_factor: Share::new(0.05),
            ..KEYS
        };
        check(keys, &losses, &expected);
    }

    #[test]
    fn it_stops_at_its_least_and_counts_nan_as_no_improvement() {
        let keys = Plateau { patience: Every::new(0), min_factor: Share::new(0.3), ..KEYS };
        check(keys, &[4.0, f64::NAN, f64::INFINITY, 1.0], &[1.0, 0.5, 0.3, 0.3]);
    }

    #[test]
    fn its_state_is_finite_and_all_there_is() {
        let losses = [4.0, 4.1, 3.0, 3.2, 3.3, 3.4, 3.3, 3.4, 3.5];
        let keys = Plateau { cooldown: Every::new(1), ..KEYS };
        for restart_at in 0..losses.len() {
            let (mut whole, mut resumed) = (keys.build(), keys.build());
            losses[..restart_at].iter().for_each(|loss| whole.observe(*loss));
            for ((_, to), (_, from)) in resumed.state().into_iter().zip(whole.state()) {
                assert!(from.is_finite());
                *to = *from;
            }
            for loss in &losses[restart_at..] {
                whole.observe(*loss);
                resumed.observe(*loss);
                assert_eq!(whole.factor(1, 1), resumed.factor(1, 1));
            }
        }
    }
}
