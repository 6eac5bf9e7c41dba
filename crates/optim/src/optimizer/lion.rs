//! Lion: `p ← (1 - lr·weight_decay)·p - lr·sign(β₁·m + (1-β₁)·g)`, `m ← β₂·m + (1-β₂)·g`.
//!
//! Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023. Every entry moves by
//! the learning rate, so it wants one three to ten times smaller than Adam does, and a decay larger
//! by as much. The sign of zero is zero, as in the paper's code. PyTorch has no Lion.

use registry::Part;
use registry::range::{Fraction, NonNegative};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `lion`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lion {
    /// how much of the average of g makes the step, and how much of it is kept
    pub betas: [Fraction; 2],
    /// share of the parameters that is taken off, times the learning rate
    pub weight_decay: NonNegative,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.99)],
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Lion {
    const NAME: &'static str = "lion";
    const SUMMARY: &'static str = "the sign of momentum; wants a small learning rate";
    const SOURCE: &'static str = "Chen et al. 2023";
}

impl OptimizerPart for Lion {
    /// The authors'; PyTorch has no Lion.
    const LEARNING_RATE: f64 = 1e-4;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State { keys: *self, m: Aligned::new(T::ZERO, layout.len()) })
    }
}

struct State<T> {
    keys: Lion,
    /// Average gradient.
    m: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let [beta1, beta2] = self.keys.betas.map(Fraction::get);
        let lr = T::from_f64(update.learning_rate);
        let keep = T::from_f64(1.0 - update.learning_rate * self.keys.weight_decay.get());
        let (mix_m, mix_g) = (T::from_f64(beta1), T::from_f64(1.0 - beta1));
        let (keep_m, take_m) = (T::from_f64(beta2), T::from_f64(1.0 - beta2));
        update.each_entry(
            Reach::All,
            [&mut self.m],
            #[inline(always)]
            |p, g, [m]| (keep * p - lr * sign(mix_m * m + mix_g * g), [keep_m * m + take_m * g]),
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m)]
    }
}

/// -1, 0 or 1, and NaN for NaN, so that one is not lost here.
#[inline(always)]
fn sign<T: Real>(value: T) -> T {
    if T::ZERO < value {
        T::ONE
    } else if value < T::ZERO {
        -T::ONE
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn every_entry_moves_by_the_learning_rate() {
        let [p] = trajectory(Lion::default(), 0.25, &[[1e-30, -40.0, 0.0]], [1.0; 3]);
        assert_eq!(p, [0.75, 1.25, 1.0]);
    }

    #[test]
    fn the_average_can_outvote_the_gradient() {
        let keys = Lion { betas: [0.75, 0.5].map(Fraction::new), ..Lion::default() };
        // m is 4 after the first step: 0.75·4 - 0.25·11 is above 0, 0.75·4 - 0.25·13 below.
        assert_eq!(trajectory(keys, 1.0, &[[8.0], [-11.0]], [0.0])[1], [-2.0]);
        assert_eq!(trajectory(keys, 1.0, &[[8.0], [-13.0]], [0.0])[1], [0.0]);
    }

    #[test]
    fn a_zero_gradient_leaves_the_decay_alone() {
        let keys = Lion { weight_decay: NonNegative::new(0.5), ..Lion::default() };
        assert_eq!(trajectory(keys, 0.5, &[[0.0]; 2], [16.0]), [[12.0], [9.0]]);
    }

    #[test]
    fn nan_is_not_lost() {
        assert!(trajectory(Lion::default(), 0.1, &[[f64::NAN]], [1.0])[0][0].is_nan());
    }
}
