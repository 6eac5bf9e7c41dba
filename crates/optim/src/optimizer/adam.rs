//! Adam: `m ← β₁·m + (1-β₁)·g`, `v ← β₂·v + (1-β₂)·g²`, `p ← p - lr·m̂ / (√v̂ + eps)`,
//! where `m̂ = m / (1-β₁ᵗ)` and `v̂ = v / (1-β₂ᵗ)`.
//!
//! Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015. `weight_decay` is an L2
//! penalty added to the gradient, as in PyTorch's `Adam`; what decays the weights themselves is
//! AdamW, another optimizer.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `adam`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Adam {
    /// how much of the averages of g and of g² is kept each step
    pub betas: [Fraction; 2],
    /// added to √v
    pub eps: Positive,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Adam {
    const NAME: &'static str = "adam";
    const SUMMARY: &'static str = "adaptive moments with bias correction";
    const SOURCE: &'static str = "Kingma & Ba 2015";
}

impl OptimizerPart for Adam {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: Aligned::new(T::ZERO, layout.len()),
            v: Aligned::new(T::ZERO, layout.len()),
        })
    }
}

struct State<T> {
    keys: Adam,
    /// Average gradient.
    m: Aligned<T>,
    /// Average squared gradient.
    v: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let Adam { betas, eps, weight_decay } = self.keys;
        let decay = T::from_f64(weight_decay.get());
        let rule = AdamStep::new(update.step, update.learning_rate, betas, eps);
        update.each_entry(
            Reach::All,
            [&mut self.m, &mut self.v],
            #[inline(always)]
            |p, g, [m, v]| {
                let (descent, averages) = rule.descent(g + decay * p, [m, v]);
                (p - descent, averages)
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m), ("v", &mut self.v)]
    }
}

/// Adam's rule at one step, for the optimizers that contain it.
pub(super) struct AdamStep<T> {
    keep_m: T,
    take_m: T,
    keep_v: T,
    take_v: T,
    lr: T,
    v_root: T,
    eps: T,
}

impl<T: Real> AdamStep<T> {
    pub(super) fn new(step: u64, learning_rate: f64, betas: [Fraction; 2], eps: Positive) -> Self {
        let [beta1, beta2] = betas.map(Fraction::get);
        // Both averages start at zero and lean towards it early on; these undo the lean.
        let m_bias = 1.0 - libm::pow(beta1, step as f64);
        let v_bias = 1.0 - libm::pow(beta2, step as f64);
        Self {
            keep_m: T::from_f64(beta1),
            take_m: T::from_f64(1.0 - beta1),
            keep_v: T::from_f64(beta2),
            take_v: T::from_f64(1.0 - beta2),
            lr: T::from_f64(learning_rate / m_bias),
            v_root: T::from_f64(v_bias.sqrt()),
            eps: T::from_f64(eps.get()),
        }
    }

    /// What an entry goes down by, and both averages with `g` taken in.
    #[inline(always)]
    pub(super) fn descent(&self, g: T, [m, v]: [T; 2]) -> (T, [T; 2]) {
        let m = self.keep_m * m + self.take_m * g;
        let v = self.keep_v * v + self.take_v * g * g;
        (self.lr * m / (v.sqrt() / self.v_root + self.eps), [m, v])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn the_first_step_is_the_learning_rate_whatever_the_gradient() {
        let [p] = trajectory(Adam::default(), 0.5, &[[1e-3, -40.0, 0.0]], [1.0; 3]);
        // m̂ / √v̂ = ±1, up to eps.
        for (p, expected) in p.iter().zip([0.5, 1.5, 1.0]) {
            assert!((p - expected).abs() < 1e-5, "{p} instead of {expected}");
        }
    }

    #[test]
    fn the_second_step_weighs_both_gradients() {
        let keys = Adam { betas: [0.5, 0.75].map(Fraction::new), ..Adam::default() };
        let [_, p] = trajectory(keys, 1.0, &[[1.0], [3.0]], [0.0]);
        // m = 0.5·0.5 + 0.5·3 = 1.75, over 1 - 0.5²; v = 0.75·0.25 + 0.25·9, over 1 - 0.75².
        let second = (1.75 / 0.75) / (2.4375_f64 / 0.4375).sqrt();
        assert!((p[0] - (-1.0 - second)).abs() < 1e-7, "{p:?}");
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = Adam { weight_decay: NonNegative::new(0.25), ..Adam::default() };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(Adam::default(), 0.1, &[[1.0]], [2.0]));
    }
}
