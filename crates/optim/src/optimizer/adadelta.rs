//! Adadelta: `v ← rho·v + (1-rho)·g²`, `d = g·√(w + eps) / √(v + eps)`, `w ← rho·w + (1-rho)·d²`,
//! `p ← p - lr·d`.
//!
//! Zeiler, "ADADELTA: an adaptive learning rate method", 2012. `w` averages the squares of past
//! steps, which gives a step the unit of the parameters; so the paper has no learning rate, and 1 is
//! the one that leaves it as it is. `w` is taken before the rate is applied, as in PyTorch, and
//! `weight_decay` is an L2 penalty added to the gradient.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `adadelta`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Adadelta {
    /// how much of both averages is kept each step
    pub rho: Fraction,
    /// added inside both roots; the first steps are of the size of its root
    pub eps: Positive,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self {
            rho: Fraction::new(0.9),
            eps: Positive::new(1e-6),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Adadelta {
    const NAME: &'static str = "adadelta";
    const SUMMARY: &'static str = "steps in the unit of the parameters; a learning rate of 1 fits";
    const SOURCE: &'static str = "Zeiler 2012";
}

impl OptimizerPart for Adadelta {
    const LEARNING_RATE: f64 = 1.0;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            v: Aligned::new(T::ZERO, layout.len()),
            w: Aligned::new(T::ZERO, layout.len()),
        })
    }
}

struct State<T> {
    keys: Adadelta,
    /// Average squared gradient.
    v: Aligned<T>,
    /// Average squared step.
    w: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let Adadelta { rho, eps, weight_decay } = self.keys;
        let (lr, eps) = (T::from_f64(update.learning_rate), T::from_f64(eps.get()));
        let (keep, take) = (T::from_f64(rho.get()), T::from_f64(1.0 - rho.get()));
        let decay = T::from_f64(weight_decay.get());
        update.each_entry(
            Reach::All,
            [&mut self.v, &mut self.w],
            #[inline(always)]
            |p, g, [v, w]| {
                let g = g + decay * p;
                let v = keep * v + take * g * g;
                let d = g * ((w + eps).sqrt() / (v + eps).sqrt());
                let w = keep * w + take * d * d;
                (p - lr * d, [v, w])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("v", &mut self.v), ("w", &mut self.w)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    const KEYS: Adadelta = Adadelta {
        rho: Fraction::new(0.75),
        eps: Positive::new(4.0),
        weight_decay: NonNegative::new(0.0),
    };

    #[test]
    fn a_step_is_in_the_unit_of_the_steps_before() {
        // v = 0.25·48 = 12, d = √48·√4/√16; w = 0.25·12 = 3; v = 0.75·12 + 0.25·48 = 21.
        let g = 48.0_f64.sqrt();
        let [first, second] = trajectory(KEYS, 1.0, &[[g], [g]], [0.0]);
        assert!((first[0] + g / 2.0).abs() < 1e-14, "{first:?}");
        let expected = -g / 2.0 - g * (7.0_f64 / 25.0).sqrt();
        assert!((second[0] - expected).abs() < 1e-14, "{second:?} instead of {expected}");
    }

    #[test]
    fn the_learning_rate_does_not_enter_the_average() {
        let grads = [[1.0], [2.0], [-0.5]];
        let one = trajectory(KEYS, 1.0, &grads, [0.0]);
        let half = trajectory(KEYS, 0.5, &grads, [0.0]);
        assert_eq!(half, one.map(|[p]| [p / 2.0]));
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = Adadelta { weight_decay: NonNegative::new(0.25), ..KEYS };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(KEYS, 0.1, &[[1.0]], [2.0]));
    }
}
