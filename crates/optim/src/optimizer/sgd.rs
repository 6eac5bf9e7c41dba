//! Stochastic gradient descent: `u ← momentum·u + g`, `p ← p - lr·u`.
//!
//! Robbins & Monro, "A stochastic approximation method", 1951; momentum by Polyak, 1964; Nesterov's
//! variant, `p ← p - lr·(g + momentum·u)`, in the form of Sutskever et al., "On the importance of
//! initialization and momentum in deep learning", ICML 2013. As in PyTorch the learning rate stands
//! outside the velocity, and `weight_decay` is an L2 penalty added to the gradient.

use registry::range::{Fraction, NonNegative};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `sgd`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sgd {
    /// share of the last step that is taken again
    pub momentum: Fraction,
    /// look ahead along the velocity
    pub nesterov: bool,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { momentum: Fraction::new(0.0), nesterov: false, weight_decay: NonNegative::new(0.0) }
    }
}

impl Part for Sgd {
    const NAME: &'static str = "sgd";
    const SUMMARY: &'static str = "a step against the gradient, with momentum if wanted";
    const SOURCE: &'static str = "Robbins & Monro 1951";

    fn check(&self) -> Result<(), Conflict> {
        if self.nesterov && self.momentum.get() == 0.0 {
            return Err(Conflict {
                key: "nesterov",
                message: "looks ahead along a velocity, and without momentum there is none".into(),
                help: "add momentum = 0.9, or leave nesterov out".into(),
            });
        }
        Ok(())
    }
}

impl OptimizerPart for Sgd {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        let n_velocity = if self.momentum.get() == 0.0 { 0 } else { layout.len() };
        Box::new(State { keys: *self, velocity: Aligned::new(T::ZERO, n_velocity) })
    }
}

struct State<T> {
    keys: Sgd,
    /// Empty without momentum.
    velocity: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let Sgd { momentum, nesterov, weight_decay } = self.keys;
        let is_still = momentum.get() == 0.0 && weight_decay.get() == 0.0;
        let reach = if is_still { Reach::WithGradient } else { Reach::All };
        let lr = T::from_f64(update.learning_rate);
        let (momentum, decay) = (T::from_f64(momentum.get()), T::from_f64(weight_decay.get()));
        update.each_entry(
            reach,
            [&mut self.velocity],
            #[inline(always)]
            |p, g, [u]| {
                let g = g + decay * p;
                let u = momentum * u + g;
                let step = if nesterov { g + momentum * u } else { u };
                (p - lr * step, [u])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        if self.velocity.is_empty() { vec![] } else { vec![("velocity", &mut self.velocity)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn a_step_goes_against_the_gradient_and_the_decay() {
        let keys = Sgd { weight_decay: NonNegative::new(0.5), ..Sgd::default() };
        assert_eq!(trajectory(Sgd::default(), 0.5, &[[3.0], [0.0]], [2.0]), [[0.5], [0.5]]);
        assert_eq!(trajectory(keys, 0.5, &[[3.0], [0.0]], [2.0]), [[0.0], [0.0]]);
    }

    #[test]
    fn momentum_repeats_a_share_of_the_last_step() {
        let keys = Sgd { momentum: Fraction::new(0.5), ..Sgd::default() };
        assert_eq!(trajectory(keys, 1.0, &[[4.0], [0.0], [1.0]], [9.0]), [[5.0], [3.0], [1.0]]);
    }

    #[test]
    fn nesterov_takes_the_next_share_in_advance() {
        let keys = Sgd { momentum: Fraction::new(0.5), nesterov: true, ..Sgd::default() };
        assert_eq!(trajectory(keys, 1.0, &[[4.0], [0.0]], [9.0]), [[3.0], [2.0]]);
    }

    #[test]
    fn nesterov_needs_a_momentum() {
        let conflict = Sgd { nesterov: true, ..Sgd::default() }.check().expect_err("no momentum");
        assert_eq!(conflict.key, "nesterov");
    }
}
