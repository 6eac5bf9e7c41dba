//! RMSprop: `v ← alpha·v + (1-alpha)·g²`, `u ← momentum·u + g / (√v + eps)`, `p ← p - lr·u`.
//!
//! Tieleman & Hinton, "Lecture 6.5: RMSProp", Neural Networks for Machine Learning, 2012, where
//! there is neither eps nor momentum. `centered` is the variant of Graves, "Generating sequences
//! with recurrent neural networks", 2013, which divides by the standard deviation `√(v - ḡ²)`, with
//! `ḡ` the average gradient. All of it is as in PyTorch: eps outside the root (Graves has it inside),
//! the learning rate outside the momentum, `weight_decay` an L2 penalty added to the gradient.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `rmsprop`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RmsProp {
    /// how much of the average of g² is kept each step; char-rnn has 0.95
    pub alpha: Fraction,
    /// added to √v
    pub eps: Positive,
    /// share of the last step that is taken again
    pub momentum: Fraction,
    /// divide by the standard deviation of g instead of its root mean square
    pub centered: bool,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            alpha: Fraction::new(0.99),
            eps: Positive::new(1e-8),
            momentum: Fraction::new(0.0),
            centered: false,
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for RmsProp {
    const NAME: &'static str = "rmsprop";
    const SUMMARY: &'static str = "divides by a running root mean square of the gradient";
    const SOURCE: &'static str = "Tieleman & Hinton 2012";
}

impl OptimizerPart for RmsProp {
    const LEARNING_RATE: f64 = 0.01;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        let zeros = |wanted: bool| Aligned::new(T::ZERO, if wanted { layout.len() } else { 0 });
        Box::new(State {
            keys: *self,
            v: zeros(true),
            mean: zeros(self.centered),
            velocity: zeros(self.momentum.get() != 0.0),
        })
    }
}

struct State<T> {
    keys: RmsProp,
    /// Average squared gradient.
    v: Aligned<T>,
    /// Average gradient; empty unless `centered`.
    mean: Aligned<T>,
    /// Empty without momentum.
    velocity: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let RmsProp { alpha, eps, momentum, centered, weight_decay } = self.keys;
        let (lr, eps) = (T::from_f64(update.learning_rate), T::from_f64(eps.get()));
        let (keep, take) = (T::from_f64(alpha.get()), T::from_f64(1.0 - alpha.get()));
        let (momentum, decay) = (T::from_f64(momentum.get()), T::from_f64(weight_decay.get()));
        update.each_entry(
            Reach::All,
            [&mut self.v, &mut self.mean, &mut self.velocity],
            #[inline(always)]
            |p, g, [v, mean, u]| {
                let g = g + decay * p;
                let v = keep * v + take * g * g;
                let (mut variance, mut mean) = (v, mean);
                if centered {
                    mean = keep * mean + take * g;
                    variance -= mean * mean;
                    // Under a gradient that stays the same it goes to zero, and rounding goes below,
                    // where PyTorch's root is NaN.
                    if variance < T::ZERO {
                        variance = T::ZERO;
                    }
                }
                let u = momentum * u + g / (variance.sqrt() + eps);
                (p - lr * u, [v, mean, u])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        let mut state = vec![("v", &mut self.v[..])];
        if self.keys.centered {
            state.push(("mean", &mut self.mean));
        }
        if self.keys.momentum.get() != 0.0 {
            state.push(("velocity", &mut self.velocity));
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    const KEYS: RmsProp = RmsProp {
        alpha: Fraction::new(0.75),
        eps: Positive::new(1.0),
        momentum: Fraction::new(0.0),
        centered: false,
        weight_decay: NonNegative::new(0.0),
    };

    #[test]
    fn a_step_is_divided_by_the_root_mean_square() {
        // v = 0.25·36 = 9, then 0.75·9 = 6.75.
        let [first, second] = trajectory(KEYS, 1.0, &[[6.0], [0.0]], [2.0]);
        assert_eq!((first, second), ([2.0 - 6.0 / 4.0], [0.5]));
        let [_, second] = trajectory(KEYS, 1.0, &[[6.0], [1.5]], [2.0]);
        assert_eq!(second, [0.5 - 1.5 / ((6.75_f64 + 0.5625).sqrt() + 1.0)]);
    }

    #[test]
    fn momentum_repeats_a_share_of_the_last_step() {
        let keys = RmsProp { momentum: Fraction::new(0.5), ..KEYS };
        assert_eq!(trajectory(keys, 1.0, &[[6.0], [0.0]], [2.0]), [[0.5], [-0.25]]);
    }

    #[test]
    fn centered_divides_by_the_standard_deviation() {
        let keys = RmsProp { centered: true, ..KEYS };
        // The average gradient is 0.25·6 = 1.5.
        let [p] = trajectory(keys, 1.0, &[[6.0]], [2.0]);
        assert_eq!(p, [2.0 - 6.0 / ((9.0_f64 - 2.25).sqrt() + 1.0)]);
    }

    #[test]
    fn a_gradient_that_never_changes_has_no_deviation_and_gives_no_nan() {
        let keys = RmsProp { centered: true, ..KEYS };
        let [.., p] = trajectory(keys, 1e-3, &[[0.1, 0.3, 0.7]; 500], [0.0; 3]);
        assert!(p.iter().all(|p| p.is_finite()), "{p:?}");
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = RmsProp { weight_decay: NonNegative::new(0.25), ..KEYS };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(KEYS, 0.1, &[[1.0]], [2.0]));
    }
}
